//! What all clients share.

use super::frame::{self, Damaged, Message};
use super::message::Ends;
use super::{calls, churn, hold, idle, requests, stream};
use clap::{Args, Subcommand};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

/// The command line of the client.
#[derive(Args, Debug)]
pub struct Client {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    kind: Kind,
}

/// What every kind of load has.
#[derive(Args, Debug, Clone)]
pub struct Common {
    /// Where to connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "10.1.1.2:5060")]
    pub to: SocketAddrV4,
    /// The server that the messages name; the one that is connected to unless told otherwise
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub server: Option<SocketAddrV4>,
    /// An address that no answer may have: one of the gateway's, where it promises to turn all back
    #[arg(long, value_name = "ADDRESS")]
    pub hidden: Option<Ipv4Addr>,
    /// Say `ready`, and begin at each line on standard input until it ends
    #[arg(long)]
    pub hold: bool,
}

#[derive(Subcommand, Debug)]
enum Kind {
    /// INVITEs back to back on one connection, which nobody answers
    Stream(stream::Stream),
    /// An INVITE and its answer in turn on many connections
    Requests(requests::Requests),
    /// A new connection for each REGISTER
    Churn(churn::Churn),
    /// Connections that stay, with a REGISTER each
    Idle(idle::Idle),
    /// Whole calls, with new media ports each
    Calls(calls::Calls),
    /// Calls that stay, and count what their media ports hear
    Hold(hold::Hold),
}

/// What a client did.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Done {
    /// Messages, requests, connections or calls that were made and answered.
    pub units: u64,
    /// How long that took, seconds.
    pub seconds: f64,
    /// Those that were not answered, or not as they should be.
    pub failed: u64,
    /// Answers with an address that none may have.
    pub leaks: u64,
    /// Probes that were awaited.
    pub probes: u64,
    /// Of these, those that were not heard.
    pub unheard: u64,
    /// Probes that were heard after their call was over.
    pub late: u64,
    /// Half of the answers came within this time, microseconds.
    pub p50: Option<f64>,
    /// Of a hundred answers, 99 came within this time, microseconds.
    pub p99: Option<f64>,
    /// Why it ended early.
    pub trouble: Option<String>,
}

/// How long an answer may take before it counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(8);

impl Client {
    /// Makes the load.
    ///
    /// # Errors
    /// It cannot even begin.
    pub fn run(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Stream(kind) => kind.run(&self.common),
            Kind::Requests(kind) => kind.run(&self.common),
            Kind::Churn(kind) => kind.run(&self.common),
            Kind::Idle(kind) => kind.run(&self.common),
            Kind::Calls(kind) => kind.run(&self.common),
            Kind::Hold(kind) => kind.run(&self.common),
        }
    }
}

impl Common {
    /// Opens a connection; its ends are those that the messages name.
    ///
    /// # Errors
    /// Nobody listens, or does so too slowly.
    pub fn connect(&self) -> io::Result<(TcpStream, Ends)> {
        let stream = TcpStream::connect_timeout(&self.to.into(), PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let SocketAddr::V4(own) = stream.local_addr()? else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let server = self.server.unwrap_or(self.to);
        Ok((stream, Ends { own, server }))
    }

    /// Runs the load: once, or at each line of standard input. What it did is told each time.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn each(&self, mut load: impl FnMut() -> Done) -> io::Result<()> {
        if !self.hold {
            return tell(&load());
        }
        say("ready")?;
        while command()?.is_some() {
            tell(&load())?;
        }
        Ok(())
    }

    /// Whether an answer has an address that none may have.
    pub fn leaks(&self, answer: Message<'_>) -> bool {
        self.hidden.is_some_and(|hidden| {
            let text = hidden.to_string();
            [answer.head, answer.body]
                .iter()
                .any(|part| memmem::find(part, text.as_bytes()).is_some())
        })
    }
}

/// The next line of standard input.
///
/// # Errors
/// Those of reading.
pub fn command() -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line)?;
    Ok((length > 0).then_some(line))
}

/// Tells what was seen as a line of JSON.
///
/// # Errors
/// Standard output is gone.
pub fn tell(what: &impl Serialize) -> io::Result<()> {
    say(&serde_json::to_string(what)?)
}

/// Says a line.
///
/// # Errors
/// Standard output is gone.
pub fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The answers on a connection.
#[derive(Debug, Default)]
pub struct Answers {
    bytes: Vec<u8>,
    /// Those before it have been taken.
    taken: usize,
}

impl Answers {
    /// Reads what is there, or waits for it.
    ///
    /// # Errors
    /// The connection is over, or nothing came in time.
    pub fn read(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let had = self.bytes.len();
        self.bytes.resize(had + 4096, 0);
        let count = stream.read(&mut self.bytes[had..]);
        self.bytes.truncate(had + *count.as_ref().unwrap_or(&0));
        match count {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            count => count.map(drop),
        }
    }

    /// The next whole answer among what was read.
    ///
    /// # Errors
    /// The stream is damaged.
    pub fn next(&mut self) -> Result<Option<Message<'_>>, Damaged> {
        let first = frame::first(&self.bytes[self.taken..])?;
        Ok(first.map(|(answer, length)| {
            self.taken += length;
            answer
        }))
    }

    /// Waits for an answer, and says whether it is a 200 without a leak; what is wrong counts.
    ///
    /// # Errors
    /// None came in time, or the stream is damaged.
    pub fn wait(
        &mut self,
        stream: &mut TcpStream,
        common: &Common,
        done: &mut Done,
    ) -> io::Result<bool> {
        loop {
            match self.next() {
                Ok(Some(answer)) => {
                    let (right, leaks) = (is_200(answer), common.leaks(answer));
                    done.failed += u64::from(!right);
                    done.leaks += u64::from(leaks);
                    return Ok(right && !leaks);
                }
                Ok(None) => self.read(stream)?,
                Err(Damaged) => return Err(io::Error::other("the answers' stream is damaged")),
            }
        }
    }
}

/// Whether it is a 200.
pub fn is_200(answer: Message<'_>) -> bool {
    answer.head.starts_with(b"SIP/2.0 200 ")
}

/// The number of the request that it answers.
pub fn request_of(answer: Message<'_>) -> Option<u32> {
    frame::field(answer.head, "CSeq").and_then(frame::number)
}
