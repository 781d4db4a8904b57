//! A connection that was accepted, and the leg that is dialled for it.

use super::{Carrier, Link};
use crate::conn::{Conn, Socket};
use crate::listen::Accepted;
use crate::log;
use crate::tcp::{Way, dial};
use crate::wake::Wake;
use mio::net::TcpStream;
use mio::{Interest, Registry};
use sipalg_core::alg::Opened;
use sipalg_core::config::Config;
use sipalg_core::{Instant, Leg};
use std::io::{self, ErrorKind};

/// How often another port is tried when the gateway itself uses the one that a flow was given.
const DIAL_TRIES: usize = 8;

impl Carrier {
    /// Takes on an intercepted connection and starts to dial its other leg, or resets it.
    pub fn open(&mut self, registry: &Registry, now: Instant, mut accepted: Accepted) {
        let (peer, destination) = (accepted.peer, accepted.destination);
        let Ok(mut opened) = self.alg.open(now, peer, destination, &mut self.out) else {
            accepted.stream.abort();
            return;
        };
        let slot = self.keep_link(now, &opened, &accepted);
        let linked = match self.dial(now, &mut opened, accepted.tos, slot) {
            Ok(dialled) => self.link(registry, now, &opened, accepted, dialled, slot),
            Err(error) => {
                self.forget_link(slot);
                accepted.stream.abort();
                Err(error)
            }
        };
        if let Err(error) = linked {
            if !expected(&error) {
                let Opened { source, target, .. } = opened;
                log::line(format_args!(
                    "cannot connect {peer} to {target} from {source}: {error}"
                ));
            }
            self.alg.close(now, opened.flow, &mut self.out);
        }
    }

    /// Dials from the source that the flow was given, or another if the gateway itself uses it.
    fn dial(
        &mut self,
        now: Instant,
        opened: &mut Opened,
        tos: u8,
        slot: Option<u32>,
    ) -> io::Result<TcpStream> {
        let mut tries = 1;
        loop {
            let way = way(&self.exits, self.alg.config(), opened);
            let kept = &mut self.kept;
            let bound = |fd| kept.dialling(slot, opened.accepted, fd);
            let error = match dial(opened.source, opened.target, way, tos, bound) {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let taken = matches!(
                error.kind(),
                ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable
            );
            if !taken || tries == DIAL_TRIES {
                return Err(error);
            }
            tries += 1;
            opened.source = self.alg.reopen(now, opened.flow).map_err(|_| error)?;
            self.commit();
        }
    }

    fn link(
        &mut self,
        registry: &Registry,
        now: Instant,
        opened: &Opened,
        accepted: Accepted,
        dialled: TcpStream,
        slot: Option<u32>,
    ) -> io::Result<()> {
        let Accepted { stream, .. } = accepted;
        let (inside, outside) = match opened.accepted {
            Leg::Inside => (stream, dialled),
            Leg::Outside => (dialled, stream),
        };
        let link = Link {
            flow: opened.flow,
            slot,
            conn: Conn::new(opened.accepted, inside, outside),
            opened: now,
            queued: false,
            held: 0,
            connected: false,
            waited: false,
        };
        self.insert(registry, now, link).map(drop)
    }

    /// Has the poll watch a link from now on.
    pub(super) fn insert(
        &mut self,
        registry: &Registry,
        now: Instant,
        mut link: Link,
    ) -> io::Result<usize> {
        let entry = self.links.vacant_entry();
        let key = entry.key();
        for leg in [Leg::Inside, Leg::Outside] {
            let token = Wake::Leg(key, leg).into();
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = registry.register(link.conn.socket_mut(leg), token, interest) {
                self.forget_link(link.slot);
                link.conn.abort();
                return Err(error);
            }
        }
        entry.insert(link);
        self.young.add(now, key);
        self.most_links = self.most_links.max(self.links.len());
        Ok(key)
    }
}

/// How the dialled leg of a flow leaves, by the interfaces of the rules.
pub(super) fn way<'a>(exits: &'a [Option<String>], config: &Config, opened: &Opened) -> Way<'a> {
    match opened.accepted {
        Leg::Inside => {
            let exit = exits.get(opened.rule).and_then(Option::as_deref);
            exit.map_or(Way::Global, Way::By)
        }
        Leg::Outside if config.is_global(*opened.source.ip()) => Way::Global,
        Leg::Outside => Way::Foreign,
    }
}

/// Whether an error is the network's word, which the peer hears as RST, and nothing to log.
fn expected(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrInUse
            | ErrorKind::AddrNotAvailable
            | ErrorKind::TimedOut
    )
}
