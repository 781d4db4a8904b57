//! Connections that stay, with a request each.

use super::client::{Answers, Common, Done, command, say, tell};
use super::message::{Ends, Template};
use clap::Args;
use std::io::{self, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Instant;

/// The command line of this load.
#[derive(Args, Debug)]
pub struct Idle {
    /// How many connections
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    connections: u32,
}

impl Idle {
    /// Makes the load in three parts, each at a line of standard input and told when it is there, and
    /// keeps all until standard input ends. What whoever has thousands of connections needs at all is
    /// there after the first; the connections of the second register, those of the third only ask.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn run(&self, common: &Common) -> io::Result<()> {
        super::allow_files();
        let mut open = Vec::new();
        let part = self.connections / 3;
        if common.hold {
            say("ready")?;
        }
        for number in 0..3 {
            if common.hold {
                command()?;
            }
            let numbers = number * part..(number + 1) * part;
            let request: Request = match number {
                0 | 1 => |ends| Template::register(ends, ends.own),
                _ => Template::options,
            };
            tell(&connect(common, numbers, request, &mut open))?;
        }
        while command()?.is_some() {}
        Ok(())
    }
}

/// What is asked on a connection.
type Request = fn(Ends) -> Template;

/// Opens a connection for each number, and has a request answered on it.
fn connect(
    common: &Common,
    numbers: Range<u32>,
    request: Request,
    open: &mut Vec<TcpStream>,
) -> Done {
    let began = Instant::now();
    let mut done = Done::default();
    for number in numbers {
        let mut ask = || -> io::Result<_> {
            let (mut stream, ends) = common.connect()?;
            stream.write_all(request(ends).call(number).request(1).bytes())?;
            let right = Answers::default().wait(&mut stream, common, &mut done)?;
            Ok((stream, right))
        };
        match ask() {
            Ok((stream, right)) => {
                open.push(stream);
                done.units += u64::from(right);
            }
            Err(error) => {
                done.failed += 1;
                done.trouble = Some(format!("connection {number}: {error}"));
                break;
            }
        }
    }
    done.seconds = began.elapsed().as_secs_f64();
    done
}
