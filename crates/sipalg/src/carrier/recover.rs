//! What the process before has left: its connections, at the very byte where each was.

use super::opening::way;
use super::{Carried, Carrier, Link, Send};
use crate::conn::{Conn, Input, Resumed};
use crate::console::Console;
use crate::keeper::memory::inherit;
use crate::keeper::region::{Input as Noted, READ_SIZE};
use crate::keeper::slots::{Connection, index};
use crate::listen::Accepted;
use crate::log;
use crate::tcp::{dial, is_new, progress};
use crate::udp::Datagram;
use mio::Registry;
use mio::net::TcpStream;
use nix::net::if_::if_nametoindex;
use sipalg_core::alg::{FlowView, Opened};
use sipalg_core::{Instant, Leg, Outbox, Protocol};
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// After so many deaths in a row with the same flow, nothing in it is looked into any more.
const DEADLY: u64 = 2;

/// What has come of what was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Connections that go on.
    pub connections: usize,
    /// Connections that had to be reset.
    pub lost: usize,
}

/// Why a connection does not go on.
#[derive(Debug)]
enum Lost {
    /// Nothing has happened on it yet: it begins anew.
    New,
    /// It is reset.
    Gone(String),
}

fn gone<T>(why: &str) -> Result<T, Lost> {
    Err(Lost::Gone(why.into()))
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Lost::Gone(error.to_string())
    }
}

/// A connection that goes on.
#[derive(Debug)]
struct Going {
    key: usize,
    read: [u64; 2],
    /// Something of it was read that has to be fed again.
    fed: [bool; 2],
}

impl Carrier {
    /// Goes on with everything that is in the region. `restored` is what the machine has put out when
    /// it was restored, which the kernel does not know of yet; `strangers` are sockets without name
    /// that were left, of which `adopt` knows those that were just accepted.
    pub fn recover(
        &mut self,
        registry: &Registry,
        now: Instant,
        console: &mut Console,
        restored: Outbox,
        strangers: Vec<OwnedFd>,
        adopt: impl Fn(OwnedFd) -> Option<Accepted>,
    ) -> Recovered {
        self.out = restored;
        self.demote_suspect();
        let views: BTreeMap<u32, FlowView> =
            self.alg.flows().map(|view| (view.flow.0, view)).collect();
        let mut recovered = Recovered::default();
        let mut going: BTreeMap<u32, Going> = BTreeMap::new();
        let mut newcomers = strangers;
        let slots = self.kept.region.as_ref().map(|region| region.live());
        for slot in slots.unwrap_or_default() {
            match self.go_on(registry, now, slot, &views, &mut newcomers) {
                Ok(connection) => drop(going.insert(slot, connection)),
                Err(Lost::New) => {}
                Err(Lost::Gone(why)) => {
                    recovered.lost += 1;
                    log::line(format_args!("a connection cannot go on: {why}"));
                }
            }
        }
        recovered.connections = going.len();
        if let Some(region) = &mut self.kept.region {
            region.redone();
        }
        self.close_lost(now, &views);
        self.resume_datagrams(now, &views);
        self.hold(&going);
        self.alg.keep();
        self.feed_again(now, &mut going);
        self.check(&going);
        self.settle(now, console);
        if let Some(region) = &self.kept.region {
            // Who is demoted now is so in the records.
            region.shared().clear_suspect();
        }
        for stranger in newcomers {
            if let Some(accepted) = adopt(stranger) {
                self.open(registry, now, accepted);
            }
        }
        recovered
    }

    /// A flow that workers die of is not looked into any more.
    fn demote_suspect(&mut self) {
        let region = self.kept.region.as_ref();
        let suspect = region.and_then(|region| region.shared().suspect());
        let Some((flow, deaths)) = suspect.filter(|(_, deaths)| *deaths >= DEADLY) else {
            return;
        };
        if let Some(ends) = self.alg.ends(flow) {
            let (inside, outside) = (ends.inside_local, ends.outside);
            log::line(format_args!(
                "{deaths} workers in a row died of what {inside} and {outside} say to each other: it \
                 passes unchanged from now on; please report it with what this program wrote before"
            ));
            self.alg.demote(flow);
        }
    }

    /// Goes on with a connection, if that is possible. If not, its sockets are closed, which resets
    /// them, but for one on which nothing has happened yet.
    fn go_on(
        &mut self,
        registry: &Registry,
        now: Instant,
        slot: u32,
        views: &BTreeMap<u32, FlowView>,
        newcomers: &mut Vec<OwnedFd>,
    ) -> Result<Going, Lost> {
        let Some(region) = self.kept.region.as_mut() else {
            return gone("there is no region");
        };
        let (connection, reset) = region.connection(slot);
        let mut sockets = connection.descriptors.map(|fd| inherit(fd?));
        let view = views.get(&connection.flow);
        let view = view.filter(|view| !reset && is_of(view, &connection));
        let accepted = index(connection.accepted);
        let Some(view) = view else {
            region.remove(slot);
            let new = sockets[accepted].take().filter(|fd| is_new(fd.as_fd()));
            if let Some(new) = new {
                newcomers.push(new);
                return Err(Lost::New);
            }
            return match reset {
                true => gone("it was to be reset"),
                false => gone("the machine does not know its flow"),
            };
        };
        // It had no socket yet, or one that has not begun to connect.
        if sockets[1 - accepted].as_ref().is_none_or(is_idle)
            && let Some(stream) = sockets[accepted].as_ref()
        {
            let tos = SockRef::from(stream).tos_v4().unwrap_or(0);
            // Closed first, since its address is needed.
            sockets[1 - accepted] = None;
            sockets[1 - accepted] = self.redial(slot, view, tos);
        }
        let going = self.link_again(registry, now, slot, &connection, sockets);
        if going.is_err()
            && let Some(region) = &mut self.kept.region
        {
            region.remove(slot);
        }
        going
    }

    /// The process before has not come to dial.
    fn redial(&mut self, slot: u32, view: &FlowView, tos: u32) -> Option<OwnedFd> {
        let opened = opened(view);
        let way = way(&self.exits, self.alg.config(), &opened);
        let kept = &mut self.kept;
        let bound = |fd| kept.dialling(Some(slot), view.accepted, fd);
        let tos = u8::try_from(tos).unwrap_or(0);
        let dialled = dial(opened.source, opened.target, way, tos, bound).ok()?;
        Some(OwnedFd::from(dialled))
    }

    fn link_again(
        &mut self,
        registry: &Registry,
        now: Instant,
        slot: u32,
        connection: &Connection,
        sockets: [Option<OwnedFd>; 2],
    ) -> Result<Going, Lost> {
        let (Some(region), [Some(inside), Some(outside)]) = (self.kept.region.as_mut(), sockets)
        else {
            return gone("it has not both its sockets");
        };
        let dialled = |leg: Leg| leg != connection.accepted;
        let is = [
            progress(inside.as_fd(), dialled(Leg::Inside))?,
            progress(outside.as_fd(), dialled(Leg::Outside))?,
        ];
        // Nothing waits for who has reset it.
        let written = is.map(|is| if is.gone { u64::MAX } else { is.written });
        region.redo(slot, written);
        let side = |leg: Leg| -> Result<Resumed, Lost> {
            let is = is[index(leg)];
            let kept = region.side(slot, leg);
            if is.closed && !is.gone && !kept.finish {
                // The last that the process before did was to hear of the RST.
                return gone("its peer has reset it");
            }
            let waiting = region.unsent(slot, leg, written[index(leg)]);
            let whole = is.gone || is.written + waiting.len() as u64 == kept.made;
            if !whole {
                let (waits, made) = (waiting.len(), kept.made);
                return Err(Lost::Gone(format!(
                    "{} bytes were written and {waits} wait, but there are {made}",
                    is.written
                )));
            }
            Ok(Resumed {
                waiting,
                ended: kept.ended,
                finish: kept.finish,
                finished: is.finished,
            })
        };
        let resumed = [side(Leg::Inside)?, side(Leg::Outside)?];
        let is_dialling = is[1 - index(connection.accepted)].dialling;
        let [from_inside, from_outside] = resumed;
        let sides = [
            (stream(inside), from_inside),
            (stream(outside), from_outside),
        ];
        let link = Link {
            flow: sipalg_core::FlowId(connection.flow),
            slot: Some(slot),
            conn: Conn::resumed(connection.accepted, is_dialling, sides),
            opened: connection.opened.min(now),
            queued: false,
            held: 0,
            connected: false,
            waited: true,
        };
        let key = self.insert(registry, now, link)?;
        Ok(Going {
            key,
            read: is.map(|is| is.read),
            fed: is.map(|is| is.gone),
        })
    }

    /// Flows whose connections are gone.
    fn close_lost(&mut self, now: Instant, views: &BTreeMap<u32, FlowView>) {
        let linked: BTreeMap<u32, ()> = self
            .links
            .iter()
            .map(|(_, link)| (link.flow.0, ()))
            .collect();
        for (flow, view) in views {
            if view.ends.protocol == Protocol::Tcp && !linked.contains_key(flow) {
                self.alg.close(now, view.flow, &mut self.out);
            }
        }
    }

    fn resume_datagrams(&mut self, now: Instant, views: &BTreeMap<u32, FlowView>) {
        let of_datagrams = |view: &&FlowView| view.ends.protocol == Protocol::Udp;
        for view in views.values().filter(of_datagrams) {
            let (from, to) = match view.accepted {
                Leg::Inside => (view.ends.inside_local, view.ends.outside),
                Leg::Outside => (view.ends.outside, view.ends.inside_global),
            };
            let first = Datagram { from, to, tos: 0 };
            let opened = opened(view);
            let exit = self
                .exit(opened.rule)
                .filter(|_| opened.accepted == Leg::Inside);
            let interface = exit.map_or(0, |name| if_nametoindex(name).unwrap_or(0));
            let timeouts = &self.timeouts;
            self.flows.add(now, &first, &opened, interface, timeouts);
        }
    }

    /// Gives the machine back what was held back of incomplete messages.
    fn hold(&mut self, going: &BTreeMap<u32, Going>) {
        let Some(region) = &self.kept.region else {
            return;
        };
        for (slot, of) in going {
            let Some(link) = self.links.get_mut(of.key) else {
                continue;
            };
            for leg in [Leg::Inside, Leg::Outside] {
                let held = region.held(*slot, leg);
                if held.len() as u64 != u64::from(region.side(*slot, leg).held) {
                    log::line(format_args!(
                        "a connection cannot go on: what was held back of it is lost"
                    ));
                    link.conn.give_up();
                    self.queue.push(of.key);
                }
                self.alg.hold(link.flow, leg, &held);
            }
        }
    }

    /// Feeds what was read and not carried out.
    fn feed_again(&mut self, now: Instant, going: &mut BTreeMap<u32, Going>) {
        let unfed = self.kept.region.as_ref().map(|region| region.unfed());
        for noted in unfed.unwrap_or_default() {
            let Some(of) = going.get_mut(&noted.slot) else {
                continue;
            };
            let leg = index(noted.leg);
            let read = of.read[leg].checked_sub(noted.position);
            let read = read.and_then(|read| usize::try_from(read).ok());
            let Some(read) = read.filter(|read| *read <= READ_SIZE) else {
                continue;
            };
            of.fed[leg] = true;
            let key = of.key;
            self.feed_one(now, key, noted, read);
        }
    }

    fn feed_one(&mut self, now: Instant, key: usize, noted: Noted, read: usize) {
        let (Some(link), Some(region)) = (self.links.get(key), &mut self.kept.region) else {
            return;
        };
        let flow = link.flow;
        region.read(noted, read, false);
        let (start, events) = (self.out.bytes.len(), self.out.events.len());
        let input = match read {
            0 => Input::Nothing,
            read => Input::Bytes(read),
        };
        if self.feed(now, flow, noted.leg, input, Some(noted)) {
            self.sends.push(Send {
                by: Carried::Link { key, finish: false },
                flow,
                to: noted.leg.other(),
                bytes: start..self.out.bytes.len(),
                events: events..self.out.events.len(),
                output: None,
            });
        }
    }

    /// What cannot be told to the byte is reset.
    fn check(&mut self, going: &BTreeMap<u32, Going>) {
        let Some(region) = &self.kept.region else {
            return;
        };
        for (slot, of) in going {
            let agrees = |leg: Leg| {
                let n = index(leg);
                of.fed[n] || of.read[n] == region.side(*slot, leg).read
            };
            if !(agrees(Leg::Inside) && agrees(Leg::Outside))
                && let Some(link) = self.links.get_mut(of.key)
            {
                log::line(format_args!(
                    "a connection cannot go on: {:?} bytes of it were read, but {:?} are known",
                    of.read,
                    [Leg::Inside, Leg::Outside].map(|leg| region.side(*slot, leg).read),
                ));
                link.conn.give_up();
                self.queue.push(of.key);
            }
        }
    }
}

/// Whether a socket was never told to connect.
fn is_idle(socket: &OwnedFd) -> bool {
    let is = progress(socket.as_fd(), true);
    is.is_ok_and(|is| is.dialling && !is.begun)
}

/// Its options are as they were.
fn stream(socket: OwnedFd) -> TcpStream {
    TcpStream::from_std(socket.into())
}

/// Whether a flow is that of a connection: names are used again.
fn is_of(view: &FlowView, connection: &Connection) -> bool {
    let ends = &view.ends;
    view.accepted == connection.accepted
        && ends.inside_local == connection.inside_local
        && ends.outside == connection.outside
        && ends.protocol == Protocol::Tcp
}

fn opened(view: &FlowView) -> Opened {
    Opened {
        flow: view.flow,
        source: view.source,
        target: view.target,
        accepted: view.accepted,
        rule: view.rule.unwrap_or(0),
    }
}
