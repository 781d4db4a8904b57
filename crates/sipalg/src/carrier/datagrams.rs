//! SIP over UDP: each datagram through the machine, and on in the name of who the receiver shall see.

use super::{BATCH_SIZE, Carried, Carrier, PING, Send};
use crate::console::Console;
use crate::udp::{Datagram, Udp};
use nix::net::if_::if_nametoindex;
use sipalg_core::{Instant, Leg};
use std::io::{self, ErrorKind};

/// How many datagrams are heard before connections have their turn.
const HEARS: usize = 256;

impl Carrier {
    /// Takes note that the poll reported datagrams.
    pub fn datagrams_ready(&mut self) {
        self.hearing = true;
    }

    /// The sockets of SIP over UDP.
    pub fn udp(&self) -> &Udp {
        &self.udp
    }

    /// Opens the flow of the first datagram between two addresses.
    fn open_datagrams(&mut self, now: Instant, datagram: &Datagram) -> Option<(usize, Leg)> {
        let Datagram { from, to, .. } = *datagram;
        let opened = self.alg.open_datagrams(now, from, to, &mut self.out).ok()?;
        if !self.flows.has_room(opened.accepted) {
            self.alg.close(now, opened.flow, &mut self.out);
            let (count, refused) = (self.flows.len(), self.flows.refused());
            let text = format_args!(
                "no room for SIP over UDP from {from} to {to}: there are {count} flows, and \
                 {refused} were refused"
            );
            self.alarms.no_room.line(now, text);
            return None;
        }
        let exit = self
            .exit(opened.rule)
            .filter(|_| opened.accepted == Leg::Inside);
        // An interface that is gone has no number, and the route decides.
        let interface = exit.map_or(0, |name| if_nametoindex(name).unwrap_or(0));
        let timeouts = &self.timeouts;
        let key = self.flows.add(now, datagram, &opened, interface, timeouts);
        Some((key, opened.accepted))
    }

    /// Hears datagrams, as many as have their turn.
    pub(super) fn hear(&mut self, now: Instant, console: &mut Console) {
        for _ in 0..HEARS {
            if !self.hearing {
                return;
            }
            match self.udp.hear(&mut self.buffer) {
                Ok(Some((datagram, length))) => self.carry(now, &datagram, length),
                Ok(None) => self.hearing = false,
                Err(error) => {
                    self.hearing = false;
                    let text = format_args!("cannot hear datagrams: {error}");
                    self.alarms.unheard.line(now, text);
                }
            }
            if self.out.bytes.len() >= BATCH_SIZE {
                self.settle(now, console);
            }
        }
    }

    /// Takes the first `length` bytes of the buffer through the machine.
    fn carry(&mut self, now: Instant, datagram: &Datagram, length: usize) {
        let known = self.flows.find(now, datagram);
        let Some((key, leg)) = known.or_else(|| self.open_datagrams(now, datagram)) else {
            return;
        };
        let Some(flow) = self.flows.get(key).map(|flow| flow.flow) else {
            return;
        };
        if (self.alg.held_back(now, flow, leg, &mut self.out)).is_some() {
            return;
        }
        let (start, events) = (self.out.bytes.len(), self.out.events.len());
        (self.observers).prepare_for(&self.alg, flow, &mut self.out);
        let bytes = &self.buffer[..length];
        self.alg.datagram(now, flow, leg, bytes, &mut self.out);
        let bytes = start..self.out.bytes.len();
        // What the machine keeps for itself leaves nothing, unlike an empty datagram.
        let by = if length == 0 || !bytes.is_empty() {
            Carried::Flow {
                key,
                tos: datagram.tos,
            }
        } else {
            Carried::Nothing
        };
        self.sends.push(Send {
            by,
            flow,
            to: leg.other(),
            bytes,
            events: events..self.out.events.len(),
            output: None,
        });
    }

    /// Sends one datagram on.
    pub(super) fn say(&mut self, now: Instant, key: usize, send: &Send, tos: u8) {
        let bytes = &self.out.bytes[send.bytes.clone()];
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let (from, to) = flow.way(send.to);
        let interface = flow.interface_of(send.to);
        let said = self.udp.say(&Datagram { from, to, tos }, interface, bytes);
        if let Err(error) = said
            && !expected(&error)
        {
            let text = format_args!(
                "cannot send {} bytes from {from} to {to}: {error}",
                bytes.len()
            );
            self.alarms.unsent.line(now, text);
        }
    }

    /// Pings the flows that the machine names.
    pub(super) fn ping_datagrams(&mut self) {
        for (_, flow) in self.flows.iter() {
            if self.out.pings.binary_search(&flow.flow).is_ok() {
                let (from, to) = flow.way(Leg::Outside);
                let ping = Datagram { from, to, tos: 0 };
                // One that is lost is followed by the next.
                let _ = self.udp.say(&ping, flow.interface_of(Leg::Outside), PING);
            }
        }
    }

    /// Lets datagram flows end of which nothing is heard any more.
    pub(super) fn let_flows_expire(&mut self, now: Instant) {
        while let Some(flow) = self.flows.expired(now) {
            self.alg.close(now, flow.flow, &mut self.out);
        }
    }
}

/// Whether an error is the network's word, which a NAT would not tell its operator either.
fn expected(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
    )
}
