//! The server side of `sipalg console`: lines in, answers out, debug lines to who watches.
//!
//! On a Unix stream socket a client sends lines, each of them typed at the session that the client
//! has here ([`sipalg_ios::session`] says which are requests for help or completion). Each is
//! answered in order:
//!
//! ```text
//!   answer = text STX kind SP length SP prompt NUL
//!   pushed = RS line LF                             between answers, never inside one
//!
//!   kind   = "command" | "secret" | "word" | "key"  what is to be typed next
//!   length = number | "-"                           of lines on a page; "-": as the terminal has
//! ```

use crate::commands::{Debug, Monitor, Watch};
use crate::wake::Wake;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Gid;
use sipalg_core::config::Selection;
use sipalg_ios::json;
use sipalg_ios::session::{Ask, AskKind, Session};
use slab::Slab;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How many bytes may wait for a client. Above it, debug lines are dropped with a count, and its
/// commands wait.
pub const WAITING_LIMIT: usize = 256 * 1024;

/// Ends the text of an answer; the session's state follows.
pub const STX: u8 = 0x02;

/// Begins a line that is pushed.
pub const RS: u8 = 0x1e;

/// Ends an answer.
pub const NUL: u8 = 0;

/// The longest command line, with all that were sent ahead of their answers.
const INPUT_LIMIT: usize = 64 * 1024;

/// The socket and its clients.
#[derive(Debug)]
pub struct Console {
    listener: UnixListener,
    path: PathBuf,
    clients: Slab<Client>,
    watch_changed: bool,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    session: Session,
    watch: Watch,
    dropped: u64,
    /// It sends no more; it goes when all is answered.
    ended: bool,
    /// It is gone.
    dead: bool,
}

impl Console {
    /// Listens at `path`, for the owner of the process and for `group`, by default the process's
    /// own. A socket that nobody answers at is replaced, and the folder is made if it is missing.
    ///
    /// # Errors
    /// `AddrInUse`: another gateway answers there. Otherwise the file cannot be made.
    pub fn bind(path: &Path, group: Option<Gid>) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        remove_stale(path)?;
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        let listener = listener?;
        // First the group, so that no other ever may.
        chown(path, None, group.map(Gid::as_raw))?;
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(Console {
            listener,
            path: path.into(),
            clients: Slab::new(),
            watch_changed: false,
        })
    }

    /// Goes on with the listener of a former process at `path`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn inherited(listener: OwnedFd, path: &Path) -> io::Result<Self> {
        let listener = std::os::unix::net::UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Console {
            listener: UnixListener::from_std(listener),
            path: path.into(),
            clients: Slab::new(),
            watch_changed: false,
        })
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> RawFd {
        self.listener.as_raw_fd()
    }

    /// Has the poll report new clients.
    ///
    /// # Errors
    /// The poll does not take it.
    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut self.listener, Wake::Console.into(), Interest::READABLE)
    }

    /// Lets in everyone who waits.
    pub fn accept(&mut self, registry: &Registry) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let entry = self.clients.vacant_entry();
            let token = Token::from(Wake::Client(entry.key()));
            let interest = Interest::READABLE | Interest::WRITABLE;
            if registry.register(&mut stream, token, interest).is_ok() {
                entry.insert(Client::new(stream));
            }
        }
    }

    /// Reads what a client has sent.
    pub fn ready(&mut self, key: usize) {
        if let Some(client) = self.clients.get_mut(key) {
            client.read();
            self.watch_changed |= !client.is_here();
        }
    }

    /// The next command to answer, with its client.
    pub fn next_command(&mut self) -> Option<(usize, String)> {
        self.clients
            .iter_mut()
            .find_map(|(key, client)| Some((key, client.next_command()?)))
    }

    /// Takes a client's session and what it watches, to answer a line of it.
    pub fn session(&mut self, key: usize) -> Option<(Session, Watch)> {
        let client = self.clients.get_mut(key)?;
        Some((mem::take(&mut client.session), client.watch.clone()))
    }

    /// Sends the answer to the last line of a client, and has its session back, with what it waits
    /// for.
    pub fn answer(
        &mut self,
        key: usize,
        text: &str,
        (session, watch): (Session, Watch),
        ask: &Ask,
    ) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        self.watch_changed |= client.watch != watch;
        (client.session, client.watch) = (session, watch);
        // They would end the text early.
        let safe = |byte: &u8| ![NUL, STX, RS].contains(byte);
        client.output.extend(text.bytes().filter(safe));
        let state = state(ask);
        client.output.push(STX);
        client.output.extend(state.bytes().filter(safe));
        client.output.push(NUL);
    }

    /// Lets a client go once it has what waits for it; what else it has asked is not answered.
    pub fn dismiss(&mut self, key: usize) {
        if let Some(client) = self.clients.get_mut(key) {
            client.input.clear();
            client.ended = true;
            self.watch_changed = true;
        }
    }

    /// Every client with what it wants to see: what it has asked for, with `terminal monitor` what
    /// any has asked for, or nothing.
    pub fn watchers(&self) -> Vec<(usize, Vec<Rc<Debug>>)> {
        let clients = || self.clients.iter().filter(|(_, client)| client.is_here());
        let wants = |client: &Client| client.watch.asked().cloned().collect();
        let all = || clients().flat_map(|(_, client)| client.watch.asked().cloned());
        let watchers = clients().map(|(key, client)| match client.watch.monitor {
            Monitor::Own => (key, wants(client)),
            Monitor::All => (key, all().collect()),
            Monitor::Nothing => (key, Vec::new()),
        });
        watchers.filter(|(_, wants)| !wants.is_empty()).collect()
    }

    /// The flows on which nothing must be changed, for the sake of those who are here.
    pub fn dry_runs(&self) -> Vec<Selection> {
        let clients = self.clients.iter().filter(|(_, client)| client.is_here());
        let asked = clients.filter_map(|(_, client)| client.watch.dry_run.as_ref());
        asked.map(|debug| debug.flows.clone()).collect()
    }

    /// Whether who watches what has changed since the last time of asking.
    pub fn watch_changed(&mut self) -> bool {
        mem::take(&mut self.watch_changed)
    }

    /// The access lists are others now: those who watch by one follow.
    pub fn relist(&mut self, lists: impl Fn(&str) -> Option<Selection>) {
        for (_, client) in &mut self.clients {
            client.watch.relist(&lists);
        }
        self.watch_changed = true;
    }

    /// Pushes a debug line, given without its end, to one client. One without stamp is JSON.
    pub fn debug(&mut self, key: usize, stamp: &str, line: &str) {
        if let Some(client) = self.clients.get_mut(key) {
            client.push_debug(stamp, line);
        }
    }

    /// Sends what waits, and lets go of clients that are done.
    pub fn flush(&mut self) {
        self.clients.retain(|_, client| {
            let was_here = client.is_here();
            client.write();
            self.watch_changed |= was_here != client.is_here();
            !client.done()
        });
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Nothing can be done about a file that somebody else has removed.
        let _ = fs::remove_file(&self.path);
    }
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        Client {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            session: Session::new(),
            watch: Watch::default(),
            dropped: 0,
            ended: false,
            dead: false,
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while !self.ended && !self.dead {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(read) => self.input.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.dead = true,
            }
            self.dead |= self.input.len() > INPUT_LIMIT;
        }
    }

    fn next_command(&mut self) -> Option<String> {
        if self.dead || self.output.len() > WAITING_LIMIT {
            return None;
        }
        let end = self.input.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.input.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        Some(line.trim_end_matches(['\n', '\r']).to_owned())
    }

    fn is_here(&self) -> bool {
        !self.ended && !self.dead
    }

    fn push_debug(&mut self, stamp: &str, line: &str) {
        if self.output.len() + stamp.len() + line.len() > WAITING_LIMIT {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            self.output.push(RS);
            let note = match stamp {
                "" => json::dropped(self.dropped) + "\n",
                _ => format!("{stamp}: %SIPALG-4-DROPPED: {} debug lines\n", self.dropped),
            };
            self.output.extend_from_slice(note.as_bytes());
            self.dropped = 0;
        }
        self.output.push(RS);
        let colon = if stamp.is_empty() { "" } else { ": " };
        for part in [stamp, colon, line, "\n"] {
            self.output.extend_from_slice(part.as_bytes());
        }
    }

    fn write(&mut self) {
        while !self.dead && !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.dead = true,
            }
        }
    }

    fn done(&self) -> bool {
        self.dead || (self.ended && self.output.is_empty() && !self.input.contains(&b'\n'))
    }
}

/// What a session waits for, as clients are told.
fn state(ask: &Ask) -> String {
    let kind = match ask.kind {
        AskKind::Command => "command",
        AskKind::Secret => "secret",
        AskKind::Word => "word",
        AskKind::Key => "key",
    };
    let length = ask.length.map_or("-".into(), |lines| lines.to_string());
    format!("{kind} {length} {}", ask.prompt)
}

/// Removes the socket of a gateway that is no more.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "it is there and no socket",
            ));
        }
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests;
