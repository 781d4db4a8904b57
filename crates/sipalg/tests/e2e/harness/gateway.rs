//! The program under test, its console, and the doors it has in the kernel.

use super::Folder;
use super::net::{Host, Net};
use super::process::Process;
use nix::sys::signal::Signal;
use std::io::Write;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The configuration that the project promises to work as it stands.
pub const CONFIGURATION: &str = "\
hostname gw
!
interface gin
 ip nat inside
interface gout
 ip nat outside
!
access-list 1 permit 192.168.122.0 0.0.0.255
ip nat inside source list 1 interface gout overload
ip nat service sip tcp port 8000
";

/// A gateway that is ready. It is stopped when dropped.
#[derive(Debug)]
pub struct Gateway<'net> {
    host: &'net Host,
    process: Process,
    files: Files,
}

/// Where a gateway keeps what it needs, apart from any other gateway on this machine.
#[derive(Debug)]
pub struct Files {
    folder: Folder,
}

/// A console that reads what a script says.
#[derive(Debug)]
pub struct Console {
    child: Child,
}

impl Console {
    /// Says a line.
    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{line}").expect("a console");
    }

    /// Waits until all is carried out.
    ///
    /// # Panics
    /// A line was refused.
    pub fn close(self) {
        let output = self.child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}", output.status);
    }
}

impl Files {
    /// A place with this startup configuration.
    pub fn new(configuration: &str) -> Self {
        let folder = Folder::new();
        folder.write("startup-config", configuration);
        Files { folder }
    }

    /// The startup configuration.
    pub fn configuration(&self) -> PathBuf {
        self.folder.path("startup-config")
    }

    /// The folder they are in.
    pub fn folder(&self) -> &Path {
        self.folder.itself()
    }

    /// The console's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path("console.sock")
    }

    /// Where the host's original settings are kept.
    pub fn state(&self) -> PathBuf {
        self.folder.path("state")
    }

    /// `sipalg run` with these files.
    pub fn run(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
        command.arg("run");
        command.arg("--config").arg(self.configuration());
        command.arg("--socket").arg(self.socket());
        command.arg("--state-dir").arg(self.state());
        command
    }

    /// `sipalg clean` with these files.
    pub fn clean(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
        command.arg("clean").arg("--state-dir").arg(self.state());
        command
    }
}

impl<'net> Gateway<'net> {
    /// Starts it between the wires and waits until it is ready.
    pub fn start(net: &'net Net) -> Self {
        Self::start_with(net, CONFIGURATION)
    }

    /// Starts it with another configuration.
    pub fn start_with(net: &'net Net, configuration: &str) -> Self {
        Self::start_from(net, Files::new(configuration))
    }

    /// Starts it with the files that another has left.
    pub fn start_from(net: &'net Net, files: Files) -> Self {
        let command = files.run();
        Self::start_by(net, files, command)
    }

    /// Starts it by a command of the caller's.
    pub fn start_by(net: &'net Net, files: Files, mut command: Command) -> Self {
        let mut process = Process::start(&net.gateway, &mut command);
        process.wait_for("sipalg: ready");
        let host = &net.gateway;
        Gateway {
            host,
            process,
            files,
        }
    }

    /// What a console command answers.
    pub fn console(&self, command: &str) -> String {
        let socket = self.files.socket();
        let socket = socket.to_str().expect("a plain path");
        let program = env!("CARGO_BIN_EXE_sipalg");
        self.host
            .output(program, &["console", "--socket", socket, "-c", command], "")
    }

    /// Lines of configuration, given on a console of its own.
    pub fn configure(&self, lines: &str) {
        let socket = self.files.socket();
        let socket = socket.to_str().expect("a plain path");
        let program = env!("CARGO_BIN_EXE_sipalg");
        let lines = format!("configure terminal\n{lines}\nend\n");
        self.host
            .output(program, &["console", "--socket", socket], &lines);
    }

    /// Opens a console that takes one line after the other.
    pub fn open_console(&self) -> Console {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
        command
            .arg("console")
            .arg("--socket")
            .arg(self.files.socket());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = self.host.spawn(&mut command);
        Console { child }
    }

    /// Waits until it logs a line that contains `text`, after those already waited for.
    pub fn wait_for_log(&mut self, text: &str) -> String {
        self.process.wait_for(text)
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.process.said()
    }

    /// A counter of `show ip nat sip counters`.
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.console("show ip nat sip counters");
        let line = counters.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no counter {name:?} in {counters}"))
    }

    /// The media doors in the kernel: inside global, inside local.
    pub fn media_doors(&self) -> Vec<(SocketAddrV4, SocketAddrV4)> {
        let ends = self.elements("map", "media_dn");
        let ends: Vec<_> = ends
            .iter()
            .map(|element| element.split_once(" : "))
            .collect();
        let ends = ends.into_iter().map(|pair| {
            let (global, local) = pair.expect("both ends of a door");
            (endpoint(global), endpoint(local))
        });
        ends.collect()
    }

    /// The signalling doors in the kernel: inside global.
    pub fn signalling_doors(&self) -> Vec<SocketAddrV4> {
        let elements = self.elements("set", "signal_doors");
        elements.iter().map(|element| endpoint(element)).collect()
    }

    /// Its files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it, so that it cannot put anything back, and keeps its files.
    pub fn crash(mut self) -> Files {
        self.process.signal(Signal::SIGKILL);
        self.process.wait();
        self.files
    }

    /// Asks it to end, and waits until it did.
    ///
    /// # Panics
    /// Its exit status is not 0.
    pub fn stop(mut self) -> Files {
        let status = self.process.stop();
        assert!(status.success(), "{status}: {}", self.process.said());
        self.files
    }

    /// The elements of one of its sets, as nft writes them.
    fn elements(&self, kind: &str, name: &str) -> Vec<String> {
        let listing = self
            .host
            .output("nft", &["list", kind, "ip", "sipalg", name], "");
        let elements = listing.split("elements = {").nth(1).unwrap_or_default();
        let elements = elements.split('}').next().unwrap_or_default();
        let elements = elements.split(',').map(str::trim);
        elements
            .filter(|e| !e.is_empty())
            .map(String::from)
            .collect()
    }
}

/// Reads `10.1.1.1 . 4000 timeout 5m expires 4m`.
fn endpoint(text: &str) -> SocketAddrV4 {
    let mut words = text.split_whitespace();
    let address = words.next().and_then(|word| word.parse().ok());
    let port = words.nth(1).and_then(|word| word.parse().ok());
    match (address, port) {
        (Some(address), Some(port)) => SocketAddrV4::new(address, port),
        _ => panic!("not an address and a port: {text:?}"),
    }
}
