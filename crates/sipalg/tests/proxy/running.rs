//! The program as a child process on the gateway, and what can be seen of it from there.

use crate::gateway::Gateway;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

/// The reference configuration, with the further interfaces of the test network.
pub(crate) const CONFIGURATION: &str = "\
hostname gw
!
interface gin
 ip nat inside
interface gin2
 ip nat inside
interface gout
 ip nat outside
!
access-list 1 permit 192.168.122.0 0.0.1.255
ip nat inside source list 1 interface gout overload
ip nat service sip tcp port 8000
";

/// A gateway that runs. Killed if the law fails.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    folder: PathBuf,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

impl Running {
    /// The network, and the program ready in its middle.
    pub(crate) fn start() -> (Gateway, Self) {
        let gateway = Gateway::bare();
        let running = Self::start_on(&gateway);
        (gateway, running)
    }

    /// Starts the program on the calling thread's host, and waits until it is ready.
    pub(crate) fn start_on(gateway: &Gateway) -> Self {
        Self::start_with(gateway, CONFIGURATION)
    }

    /// The same with another configuration.
    pub(crate) fn start_with(gateway: &Gateway, configuration: &str) -> Self {
        let folder = gateway.state.path();
        Self::start_as(folder, &mut command(folder, configuration))
    }

    /// The same by a command that was made from [`command`].
    pub(crate) fn start_by(gateway: &Gateway, mut command: Command) -> Self {
        Self::start_as(gateway.state.path(), &mut command)
    }

    /// The same with another command, made from [`command`] with this folder.
    pub(crate) fn start_as(folder: &Path, command: &mut Command) -> Self {
        let folder = folder.to_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut running = Running {
            child,
            stderr,
            folder,
        };
        running.wait_for("sipalg: ready");
        running
    }

    /// Gives the program another configuration file, and tells it to read it. It answers with a line.
    pub(crate) fn reload(&mut self, configuration: &str) {
        fs::write(self.folder.join("startup-config"), configuration).unwrap();
        kill(self.pid(), Signal::SIGHUP).unwrap();
    }

    /// What the console answers to a command.
    pub(crate) fn ask(&self, command: &str) -> String {
        let output = self.console().args(["-c", command]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Reads what the program says up to a line that starts so.
    pub(crate) fn wait_for(&mut self, start: &str) -> String {
        self.wait_through(start).1
    }

    /// The same. Gives what it said before, too.
    pub(crate) fn wait_through(&mut self, start: &str) -> (String, String) {
        self.wait_for_any(&[start])
    }

    /// The same, up to a line that starts in one of these ways.
    pub(crate) fn wait_for_any(&mut self, starts: &[&str]) -> (String, String) {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if self.stderr.buffer().is_empty() {
                let mut asked = [PollFd::new(
                    self.stderr.get_ref().as_fd(),
                    PollFlags::POLLIN,
                )];
                let ready = poll(&mut asked, PollTimeout::from(u16::MAX)).unwrap();
                assert!(ready > 0, "it does not say {starts:?}: {said}");
            }
            if self.stderr.read_line(&mut line).unwrap() == 0 {
                panic!("it ended without {starts:?}: {said}");
            }
            if starts.iter().any(|start| line.starts_with(start)) {
                return (said, line);
            }
            if std::env::var_os("SHOW").is_some() {
                eprint!("{line}");
            }
            said += &line;
        }
    }

    /// `sipalg console`, to be told what to ask.
    pub(crate) fn console(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
        command
            .arg("console")
            .arg("--socket")
            .arg(self.folder.join("console.sock"));
        command.stdin(Stdio::null());
        command
    }

    /// The file that it started with.
    pub(crate) fn startup_config(&self) -> PathBuf {
        self.folder.join("startup-config")
    }

    /// `SIGTERM`, and how it ends.
    pub(crate) fn stop(mut self) -> Ended {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        Ended { status, said }
    }

    /// Its exit status, when it has ended by itself.
    #[allow(dead_code)] // the laws of survival use it
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// The process that carries connections, of which this one is the keeper.
    pub(crate) fn worker(&self) -> Pid {
        self.try_worker().unwrap()
    }

    /// The same; there may be none at the moment.
    pub(crate) fn try_worker(&self) -> Option<Pid> {
        let keeper = self.pid();
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"));
        Some(Pid::from_raw(children.unwrap().trim().parse().ok()?))
    }

    /// How many sockets it has open.
    pub(crate) fn sockets(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .filter(|to| to.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Its own memory, bytes: what is not shared with the files it runs from.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.worker())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // No harm if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let mut said = String::new();
            let _ = self.stderr.read_to_string(&mut said);
            eprintln!("--- the gateway's last words:\n{said}---");
        }
    }
}

/// Runs the program with `configuration`, which keeps it from running, to its end.
pub(crate) fn refused(gateway: &Gateway, configuration: &str) -> Ended {
    ended(&mut command(gateway.state.path(), configuration))
}

/// Runs a command to its end.
pub(crate) fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        status: output.status,
        said: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The command that runs the gateway with its files in `folder`.
pub(crate) fn command(folder: &Path, configuration: &str) -> Command {
    fs::create_dir_all(folder).unwrap();
    let config = folder.join("startup-config");
    fs::write(&config, configuration).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
    command.arg("run");
    command.arg("--config").arg(config);
    command.arg("--socket").arg(folder.join("console.sock"));
    command.arg("--state-dir").arg(folder.join("state"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The laws hold both ends of thousands of connections.
pub(crate) fn allow_many_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}
