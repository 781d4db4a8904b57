//! Calls that stay; their media ports count what they hear.

use super::client::{Answers, Common, Done, command, say, tell};
use super::ear::Ears;
use super::message::{Template, Wish};
use clap::Args;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

/// The command line of this load.
#[derive(Args, Debug)]
pub struct Hold {
    /// How many calls
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    calls: usize,
    /// How many connections they are made on, in turn
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    connections: usize,
    /// The address of the media ports
    #[arg(long, value_name = "ADDRESS", default_value = "192.168.122.3")]
    own: Ipv4Addr,
}

/// The first media port of calls that stay.
const FIRST_PORT: u16 = 10_000;

/// Up to how many calls there is a socket for each port.
const MOST: usize = 100;

/// A connection of calls that stay.
struct Line {
    stream: TcpStream,
    answers: Answers,
    invite: Template,
    ack: Template,
}

impl Hold {
    /// Makes the load, and tells at each line of standard input what the ports heard; a number
    /// in the line is how much they will hear.
    ///
    /// # Errors
    /// A port cannot be had, or a connection.
    pub fn run(&self, common: &Common) -> io::Result<()> {
        super::allow_files();
        let port = |call: usize| FIRST_PORT + 2 * call as u16;
        let calls: Vec<_> = (0..self.calls)
            .map(|call| (call as u32, port(call)))
            .collect();
        let ears = if self.calls > MOST {
            Ears::open_many(self.own, &calls)?
        } else {
            Ears::open(self.own, &calls)?
        };
        let mut lines = Vec::new();
        for _ in 0..self.connections.max(1) {
            let (stream, ends) = common.connect()?;
            lines.push(Line {
                stream,
                answers: Answers::default(),
                invite: Template::invite(ends),
                ack: Template::within("ACK", ends),
            });
        }
        if common.hold {
            say("ready")?;
            command()?;
        }
        let began = Instant::now();
        let mut done = Done::default();
        for &(call, port) in &calls {
            let count = lines.len();
            let line = &mut lines[call as usize % count];
            match line.call(common, (call, port), &mut done) {
                Ok(right) => done.units += u64::from(right),
                Err(error) => {
                    done.failed += 1;
                    done.trouble = Some(format!("call {call}: {error}"));
                    break;
                }
            }
        }
        done.seconds = began.elapsed().as_secs_f64();
        tell(&done)?;
        while let Some(line) = command()? {
            tell(&ears.heard(line.trim().parse().unwrap_or(u64::MAX)))?;
        }
        Ok(())
    }
}

impl Line {
    fn call(
        &mut self,
        common: &Common,
        (call, port): (u32, u16),
        done: &mut Done,
    ) -> io::Result<bool> {
        let invite = self
            .invite
            .call(call)
            .request(1)
            .media(port)
            .wish(Wish::Hold);
        self.stream.write_all(invite.bytes())?;
        let right = self.answers.wait(&mut self.stream, common, done)?;
        self.stream
            .write_all(self.ack.call(call).request(1).bytes())?;
        Ok(right)
    }
}
