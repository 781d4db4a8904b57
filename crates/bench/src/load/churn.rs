//! A new connection for each REGISTER, from a few phones at once.

use super::client::{Answers, Common, Done};
use super::message::Template;
use clap::Args;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// The command line of this load.
#[derive(Args, Debug)]
pub struct Churn {
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// How many phones
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    clients: u8,
    /// How many addresses the server has, beginning with its own; the phones take turns
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    addresses: u8,
}

/// The port that the first phone can be reached by.
const FIRST_PORT: u16 = 5060;

impl Churn {
    /// Makes the load.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn run(&self, common: &Common) -> io::Result<()> {
        common.each(|| {
            let began = Instant::now();
            let until = began + Duration::from_secs_f64(self.seconds);
            let parts = std::thread::scope(|scope| {
                let start = |client| scope.spawn(move || self.client(common, client, until));
                let threads: Vec<_> = (0..self.clients).map(start).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_default())
                    .collect::<Vec<_>>()
            });
            let mut done = Done {
                seconds: began.elapsed().as_secs_f64(),
                ..Done::default()
            };
            for part in parts {
                done.units += part.units;
                done.failed += part.failed;
                done.leaks += part.leaks;
                done.trouble = done.trouble.or(part.trouble);
            }
            done
        })
    }

    /// What one phone does.
    fn client(&self, common: &Common, client: u8, until: Instant) -> Done {
        let mut common = common.clone();
        let first = u32::from(*common.to.ip());
        common.to.set_ip(Ipv4Addr::from(
            first + u32::from(client % self.addresses.max(1)),
        ));
        let mut done = Done::default();
        let mut number = 0;
        while Instant::now() < until {
            number += 1;
            match once(&common, client, number, &mut done) {
                Ok(right) => done.units += u64::from(right),
                Err(error) => {
                    done.failed += 1;
                    done.trouble = Some(format!("phone {client}, connection {number}: {error}"));
                    return done;
                }
            }
        }
        done
    }
}

/// Connects, registers, and closes.
fn once(common: &Common, client: u8, number: u32, done: &mut Done) -> io::Result<bool> {
    let (mut stream, ends) = common.connect()?;
    let contact = SocketAddrV4::new(*ends.own.ip(), FIRST_PORT + u16::from(client));
    let mut register = Template::register(ends, contact);
    stream.write_all(register.call(client.into()).request(number).bytes())?;
    Answers::default().wait(&mut stream, common, done)
}
