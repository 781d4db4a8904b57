//! The real gateway, as a child process on the lab's middle host, and a console to it.

use super::endpoint::{PATIENCE, about};
use super::net::Host;
use crate::client::frames::{Frame, Frames};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

/// The startup configuration that it runs with.
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

/// A running gateway. It is stopped and its files are removed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    folder: Folder,
}

impl Gateway {
    /// Starts it on a host and waits until it is ready.
    ///
    /// # Errors
    /// It did not start; the text has what it said.
    pub fn start(host: &Host, fixup: bool) -> io::Result<Self> {
        let folder = Folder::new()?;
        fs::write(folder.path("startup-config"), CONFIGURATION)?;
        fs::create_dir(folder.path("state"))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("run");
        command.arg("--config").arg(folder.path("startup-config"));
        command.arg("--socket").arg(folder.path("console.sock"));
        command.arg("--state-dir").arg(folder.path("state"));
        if !fixup {
            command.arg("--no-fixup");
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // Started by the host's thread: the child inherits its network.
        let child = host.run(move || command.spawn())?;
        let mut gateway = Gateway { child, folder };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    /// Its console socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path("console.sock")
    }

    /// The folder of its files, for more of the lab's own.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it did.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.terminate();
        self.child.wait()
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let stderr = self.child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (tell, told) = mpsc::channel();
        // Reads to the end, or the gateway would block when it has much to say.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                _ = tell.send(line);
            }
        });
        let mut said = Vec::new();
        loop {
            match told.recv_timeout(PATIENCE) {
                Ok(line) if line.trim() == "sipalg: ready" => return Ok(()),
                Ok(line) => said.push(line),
                Err(_) => {
                    return Err(io::Error::other(format!(
                        "the gateway did not become ready; it said:\n{}",
                        said.join("\n")
                    )));
                }
            }
        }
    }

    fn terminate(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // An error means that it has ended already.
            _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            _ = self.child.wait();
        }
    }
}

/// A folder that only its owner can look into, removed when dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("sipalg-lab-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| about(error, &format!("making {}", path.display())))?;
        Ok(Folder(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A connection to the gateway's console, by someone who may do all.
#[derive(Debug)]
pub struct Console {
    stream: UnixStream,
    frames: Frames,
}

impl Console {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(gateway: &Gateway) -> io::Result<Self> {
        let path = gateway.socket();
        let stream = UnixStream::connect(&path)
            .map_err(|error| about(error, &format!("console {}", path.display())))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut console = Console {
            stream,
            frames: Frames::default(),
        };
        console.command("enable")?;
        Ok(console)
    }

    /// Gives a command and returns everything up to the end of its answer. Debug lines that came
    /// before the answer are in front of it.
    ///
    /// # Errors
    /// The command is refused, or no answer comes.
    pub fn command(&mut self, line: &str) -> io::Result<String> {
        let context = |error| about(error, &format!("console: {line}"));
        writeln!(self.stream, "{line}").map_err(context)?;
        let mut said = String::new();
        loop {
            match self.frames.next_frame() {
                Some(Frame::Pushed(line)) => said += &line,
                Some(Frame::Answer(answer)) if answer.is_right() => return Ok(said + &answer.text),
                Some(Frame::Answer(answer)) => {
                    return Err(context(io::Error::other(answer.text.trim().to_owned())));
                }
                None => self.hear().map_err(context)?,
            }
        }
    }

    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.frames.feed(&buffer[..read]);
                Ok(())
            }
        }
    }
}
