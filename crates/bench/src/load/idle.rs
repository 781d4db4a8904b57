//! Connections that stay, with a REGISTER each.

use super::client::{Answers, Common, Done, command, say, tell};
use super::message::Template;
use clap::Args;
use std::io::{self, Write};
use std::time::Instant;

/// The command line of this load.
#[derive(Args, Debug)]
pub struct Idle {
    /// How many connections
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    connections: u32,
}

impl Idle {
    /// Makes the load, and keeps it until standard input ends.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn run(&self, common: &Common) -> io::Result<()> {
        super::allow_files();
        if common.hold {
            say("ready")?;
            command()?;
        }
        let began = Instant::now();
        let mut done = Done::default();
        let mut open = Vec::new();
        for number in 0..self.connections {
            let mut register = || -> io::Result<_> {
                let (mut stream, ends) = common.connect()?;
                let mut register = Template::register(ends, ends.own);
                stream.write_all(register.call(number).request(1).bytes())?;
                let right = Answers::default().wait(&mut stream, common, &mut done)?;
                Ok((stream, right))
            };
            match register() {
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
        tell(&done)?;
        while command()?.is_some() {}
        Ok(())
    }
}
