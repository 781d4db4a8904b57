//! INVITEs back to back on one connection, or the same bytes in pieces of random length.

use super::client::{Answers, Common, Done};
use super::message::{Ends, Template, Wish};
use super::server::DISTINCT;
use clap::Args;
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The command line of this load.
#[derive(Args, Debug)]
pub struct Stream {
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Write pieces of 1 to this many bytes, always the same ones, instead of as much as fits
    #[arg(long, value_name = "BYTES")]
    cut: Option<usize>,
}

/// How much is written at once, bytes.
const WRITE: usize = 64 * 1024;
/// How many pieces of random length there are before they come again.
const PIECES: usize = 4096;
/// The first media port of the stream's calls.
const FIRST_PORT: u16 = 20_000;

impl Stream {
    /// Makes the load.
    ///
    /// # Errors
    /// It cannot connect.
    pub fn run(&self, common: &Common) -> io::Result<()> {
        let (mut connection, ends) = common.connect()?;
        let period = period(ends);
        let pieces = self.pieces();
        let mut options = Template::options(ends);
        let mut number = 0;
        let mut answers = Answers::default();
        let mut load = |seconds: f64| -> io::Result<Done> {
            let began = Instant::now();
            let length = Duration::from_secs_f64(seconds);
            let mut done = Done::default();
            let mut pieces = pieces.iter().cycle();
            // Whole periods only, and one at least.
            while done.units == 0 || began.elapsed() < length {
                let mut rest = &period[..];
                while let (false, Some(&piece)) = (rest.is_empty(), pieces.next()) {
                    let (now, later) = rest.split_at(piece.min(rest.len()));
                    write(&mut connection, now)?;
                    rest = later;
                }
                done.units += u64::from(DISTINCT);
            }
            // Its answer comes when everything before it has arrived.
            number += 1;
            write(&mut connection, options.request(number).bytes())?;
            answers.wait(&mut connection, common, &mut done)?;
            done.seconds = began.elapsed().as_secs_f64();
            Ok(done)
        };
        // All calls are known, and the server has learned the stream, before it counts.
        let mut trouble = load(0.0).err();
        common.each(|| {
            let done = match trouble.take() {
                None => load(self.seconds),
                Some(error) => Err(error),
            };
            done.unwrap_or_else(|error| Done {
                trouble: Some(format!("the stream stalls: {error}")),
                ..Done::default()
            })
        })
    }

    fn pieces(&self) -> Vec<usize> {
        let Some(longest) = self.cut else {
            return vec![WRITE];
        };
        // Xorshift (Marsaglia 2003): the same pieces for everyone.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..PIECES)
            .map(|_| 1 + (random() % longest.max(1) as u64) as usize)
            .collect()
    }
}

fn write(connection: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    connection.write_all(bytes)
}

/// The distinct INVITEs, one after the other.
fn period(ends: Ends) -> Vec<u8> {
    let mut invite = Template::invite(ends);
    invite.wish(Wish::Sink);
    let mut bytes = Vec::new();
    for number in 0..DISTINCT {
        let port = FIRST_PORT + 2 * number as u16;
        invite.call(number).request(number).media(port);
        bytes.extend_from_slice(invite.bytes());
    }
    bytes
}
