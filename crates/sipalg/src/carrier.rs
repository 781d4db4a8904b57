//! The data path: connections and datagrams, the machine that looks into them, and the kernel's
//! doors.
//!
//! Everything that one wake-up of the poll brought is handled together: first all legs and datagrams
//! are read through the [`Alg`], then one kernel transaction makes all the doors that came of it, and
//! only then the bytes that advertise them leave.
//!
//! ```text
//!   datagrams   SIP over UDP
//!   flows       which datagrams belong together, and for how long
//!   change      another configuration while calls go on
//!   opening     a connection that was accepted, and the leg that is dialled for it
//!   keep        what must not be lost when this process is: into the region, before it counts
//!   recover     what the process before has left there
//!   refused     what becomes of doors that the kernel does not make
//!   clear       translations that the operator clears; how full the tables are
//!   limits      who is not read for a while, and who is reset
//!   young       what a connection needs only if it lasts
//! ```

use crate::conn::{Conn, Fate, Input, Readiness};
use crate::console::Console;
use crate::keeper::region::{Input as Noted, Output, READ_SIZE, Step};
use crate::kernel::{Kernel, Plan};
use crate::log;
use crate::observe::{About, Alarms, Observers};
use crate::udp::Udp;
use flows::Flows;
use limits::Held;
use mio::net::TcpStream;
use sipalg_core::addr::Ends;
use sipalg_core::config::FlowTimeouts;
use sipalg_core::{Alg, Event, FlowId, Instant, Leg, Outbox};
use sipalg_ios::show::Connection;
use slab::Slab;
use std::mem;
use std::ops::Range;
use young::Young;

mod change;
mod clear;
mod datagrams;
mod flows;
mod keep;
mod limits;
mod opening;
mod recover;
mod refused;
mod young;

pub use change::Ended;
pub use keep::{Configuration, Kept};
pub use recover::Recovered;

/// How many bytes are gathered before doors are made and they are sent, when a wake-up brings more.
const BATCH_SIZE: usize = 1024 * 1024;

/// What keeps a connection outside alive (RFC 5626 section 3.5.1).
const PING: &[u8] = b"\r\n\r\n";

/// All connections and datagram flows of one worker.
#[derive(Debug)]
pub struct Carrier {
    alg: Alg,
    kernel: Kernel,
    udp: Udp,
    /// The outside interfaces that legs leave by, by the index of the rule in the machine's
    /// configuration.
    exits: Vec<Option<String>>,
    timeouts: FlowTimeouts,
    links: Slab<Link>,
    /// How many there were at most.
    most_links: usize,
    /// Keys of links that the next turn looks at, each once.
    queue: Vec<usize>,
    flows: Flows,
    /// There are datagrams that were not heard yet.
    hearing: bool,
    out: Outbox,
    held: Held,
    young: Young,
    sends: Vec<Send>,
    buffer: Box<[u8]>,
    alarms: Alarms,
    observers: Observers,
    kept: Kept,
    /// Some doors that the machine wants are not open.
    lacks_doors: bool,
}

#[derive(Debug)]
struct Link {
    flow: FlowId,
    /// Where it is kept.
    slot: Option<u32>,
    conn: Conn<TcpStream>,
    opened: Instant,
    queued: bool,
    /// Legs that are not read until the next second, a bit each.
    held: u8,
    /// The machine knows that both legs are connected.
    connected: bool,
    /// The machine knows that something waits for a leg.
    waited: bool,
}

impl Link {
    /// Whether there is something to read from a leg, and it may be.
    fn reads(&self, leg: Leg) -> bool {
        self.held & bit(leg) == 0 && self.conn.wants_read(leg)
    }

    fn view(&self, now: Instant, ends: &Ends) -> Connection {
        Connection {
            opened_from: self.conn.accepted(),
            inside_local: ends.inside_local,
            inside_global: ends.inside_global,
            outside: ends.outside,
            age: now.since(self.opened),
        }
    }
}

/// What one read of a leg has become.
#[derive(Debug)]
struct Send {
    by: Carried,
    flow: FlowId,
    /// The leg that it leaves by.
    to: Leg,
    /// Its bytes in the outbox.
    bytes: Range<usize>,
    /// Its events in the outbox.
    events: Range<usize>,
    /// Where it is recorded.
    output: Option<Output>,
}

/// What carries bytes.
#[derive(Clone, Copy, Debug)]
enum Carried {
    /// The link of this key, and whether FIN follows.
    Link { key: usize, finish: bool },
    /// The link of this key: it is our ping.
    Ping { key: usize },
    /// The datagram flow of this key, with this ToS byte.
    Flow { key: usize, tos: u8 },
    /// The machine keeps it for itself.
    Nothing,
}

impl Carrier {
    /// Without connections, under `plan`, which the kernel obeys already.
    pub fn new(alg: Alg, kernel: Kernel, udp: Udp, plan: &Plan, kept: Kept) -> Self {
        let mut carrier = Carrier {
            alg,
            kernel,
            udp,
            exits: change::exits(plan),
            timeouts: plan.timeouts.clone(),
            links: Slab::new(),
            most_links: 0,
            queue: Vec::new(),
            flows: Flows::default(),
            hearing: false,
            out: Outbox::default(),
            held: Held::default(),
            young: Young::default(),
            sends: Vec::new(),
            buffer: vec![0; READ_SIZE].into(),
            alarms: Alarms::default(),
            observers: Observers::default(),
            kept,
            lacks_doors: false,
        };
        carrier.know_descriptors();
        carrier
    }

    /// Takes note of what the poll says about a leg.
    pub fn ready(&mut self, key: usize, leg: Leg, readiness: Readiness) {
        if let Some(link) = self.links.get_mut(key) {
            let waited = link.conn.waiting(leg) > 0;
            link.conn.ready(leg, readiness);
            if let (Some(slot), true) = (link.slot, waited && readiness.writable) {
                self.kept.sent_later(slot, leg, link.conn.waiting(leg));
            }
            if !mem::replace(&mut link.queued, true) {
                self.queue.push(key);
            }
        }
    }

    /// Carries on with everything that is ready: reads, doors, bytes, and in the end farewells.
    pub fn turn(&mut self, now: Instant, console: &mut Console) {
        self.observers.follow(console, &mut self.alg);
        let mut turn = mem::take(&mut self.queue);
        for key in &turn {
            // However many there are, it does not hang.
            self.kept.beat();
            if self.out.bytes.len() >= BATCH_SIZE || !self.kept.has_room() {
                self.settle(now, console);
            }
            self.pump(now, *key);
        }
        self.hear(now, console);
        self.settle(now, console);
        self.observers.prepare(None, &mut self.out);
        let links = self.links.len();
        turn.retain(|key| self.judge(now, *key));
        self.queue = turn;
        self.reset_condemned(now);
        // What has ended closes doors.
        if self.links.len() < links || !self.out.is_empty() {
            self.settle(now, console);
        }
    }

    /// Whether the next turn has work without anything new from the poll.
    pub fn has_work(&self) -> bool {
        self.hearing || !self.queue.is_empty() || !self.held.condemned.is_empty()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = [
            self.alg.next_timeout(),
            self.flows.next_timeout(),
            self.held.until,
            self.young.next_timeout(),
        ];
        due.into_iter().flatten().min()
    }

    /// Lets everything expire that is due; the next [`turn`](Self::turn) carries it out.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.observers.prepare(None, &mut self.out);
        self.alg.handle_timeout(now, &mut self.out);
        self.let_flows_expire(now);
        self.read_again(now);
        self.let_grow(now);
    }

    /// The machine.
    pub fn alg(&mut self) -> &mut Alg {
        &mut self.alg
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// How many connections are carried.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The connections as `show ip nat sip connections` shows them.
    pub fn connections(&self, now: Instant) -> Vec<Connection> {
        let view = |link: &Link| Some(link.view(now, &self.alg.ends(link.flow)?));
        self.links
            .iter()
            .filter_map(|(_, link)| view(link))
            .collect()
    }

    /// Resets every connection, so that no segment of one comes when the rules are gone, and gives
    /// the kernel back.
    pub fn into_kernel(mut self) -> Kernel {
        for (_, link) in &mut self.links {
            link.conn.abort();
        }
        self.kernel
    }

    /// The interface that legs of a rule leave by, if it names one.
    fn exit(&self, rule: usize) -> Option<&str> {
        self.exits.get(rule)?.as_deref()
    }

    /// Reads each leg of a link once, through the machine.
    fn pump(&mut self, now: Instant, key: usize) {
        for leg in [Leg::Inside, Leg::Outside] {
            let Some(link) = self.links.get_mut(key) else {
                return;
            };
            if !link.reads(leg) {
                continue;
            }
            let flow = link.flow;
            if let Some(until) = self.alg.held_back(now, flow, leg, &mut self.out) {
                link.held |= bit(leg);
                self.held.add(until, key);
                continue;
            }
            let start = self.out.bytes.len();
            let events = self.out.events.len();
            (self.observers).prepare_for(&self.alg, flow, &mut self.out);
            let noted = link.slot.and_then(|slot| self.kept.note(slot, leg));
            let input = match (noted, &mut self.kept.region) {
                (Some(noted), Some(region)) => {
                    let input = link.conn.read(leg, region.buffer(noted));
                    region.read(noted, input.length(), input == Input::End);
                    input
                }
                _ => link.conn.read(leg, &mut self.buffer),
            };
            if link.conn.fate() == Fate::Reset {
                self.kept.must_reset(link.slot);
            }
            if !self.feed(now, flow, leg, input, noted) {
                continue;
            }
            let finish = input == Input::End;
            self.sends.push(Send {
                by: Carried::Link { key, finish },
                flow,
                to: leg.other(),
                bytes: start..self.out.bytes.len(),
                events: events..self.out.events.len(),
                output: None,
            });
        }
    }

    /// Gives the machine what was read of a leg. Says whether that was anything.
    fn feed(
        &mut self,
        now: Instant,
        flow: FlowId,
        leg: Leg,
        input: Input,
        noted: Option<Noted>,
    ) -> bool {
        let (alg, out) = (&mut self.alg, &mut self.out);
        let read = input.length();
        let bytes = match (noted, &self.kept.region) {
            (Some(noted), Some(region)) => {
                region.shared().set_busy(Some(flow));
                region.bytes(noted, read)
            }
            _ => &self.buffer[..read],
        };
        match input {
            Input::Bytes(_) => {
                keep::poison(alg, flow, bytes);
                alg.stream(now, flow, leg, bytes, out);
            }
            Input::End => alg.end_of_stream(now, flow, leg, out),
            Input::Nothing => {}
        }
        if let (Some(noted), Some(region)) = (noted, &mut self.kept.region) {
            region.shared().set_busy(None);
            region.fed(noted, alg.held(flow, leg).len());
        }
        input != Input::Nothing
    }

    /// Carries out what the machine has put out: addresses and doors, then bytes, then what is seen
    /// of them.
    fn settle(&mut self, now: Instant, console: &mut Console) {
        // A wake-up under a flood has many batches: whoever is busy does not hang.
        self.kept.beat();
        self.ping();
        let committed = self.commit();
        self.make_doors(now);
        self.expect_doors();
        self.kept.step(Step::Doors);
        self.alarms.sound(now, &self.out.events);
        let mut seen = 0;
        let mut sends = mem::take(&mut self.sends);
        for send in sends.drain(..) {
            let Range { start, end } = send.events.clone();
            self.observers
                .show(console, None, &self.out.events[seen..start]);
            let about = self.about(&send);
            self.observers
                .show(console, about, &self.out.events[start..end]);
            seen = end;
            let sent = send.bytes.len();
            match send.by {
                Carried::Link { key, finish } => self.write(key, &send, finish),
                Carried::Ping { key } => {
                    self.write(key, &send, false);
                    continue;
                }
                Carried::Flow { key, tos } => self.say(now, key, &send, tos),
                Carried::Nothing => {}
            }
            if sent > 0 {
                self.observers.show(console, about, &[Event::Sent(sent)]);
            }
        }
        self.sends = sends;
        self.observers.show(console, None, &self.out.events[seen..]);
        self.ping_datagrams();
        if committed {
            self.kept.applied();
        }
        self.held.condemned.append(&mut self.out.resets);
        self.out.clear();
        self.out.bytes.shrink_to(2 * BATCH_SIZE);
    }

    /// Whose events are shown, if anybody looks.
    fn about(&self, send: &Send) -> Option<About> {
        if !self.observers.look() {
            return None;
        }
        let ends = self.alg.ends(send.flow)?;
        let from = send.to.other();
        Some(About { ends, from })
    }

    fn write(&mut self, key: usize, send: &Send, finish: bool) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        if !send.bytes.is_empty() {
            link.conn
                .write(send.to, &self.out.bytes[send.bytes.clone()]);
        }
        if finish {
            link.conn.finish(send.to);
        }
        if let Some(output) = send.output {
            self.kept.carry(output, link.conn.waiting(send.to));
        }
    }

    /// Has the connections pinged that the machine names, after what they are sent besides.
    fn ping(&mut self) {
        if self.out.pings.is_empty() {
            return;
        }
        self.out.pings.sort_unstable();
        for (key, link) in &self.links {
            if self.out.pings.binary_search(&link.flow).is_ok() {
                let (start, events) = (self.out.bytes.len(), self.out.events.len());
                self.out.bytes.extend_from_slice(PING);
                self.sends.push(Send {
                    by: Carried::Ping { key },
                    flow: link.flow,
                    to: Leg::Outside,
                    bytes: start..start + PING.len(),
                    events: events..events,
                    output: None,
                });
            }
        }
    }

    fn expect_doors(&mut self) {
        let time = self.alg.config().timers.transaction;
        if !self.out.awaited.is_empty()
            && let Err(error) = self.kernel.expect(&self.out.awaited, time)
        {
            log::line(format_args!("{error}; who comes too early is refused"));
        }
    }

    fn make_doors(&mut self, now: Instant) {
        let Outbox {
            addresses, doors, ..
        } = &self.out;
        if addresses.is_empty() && doors.is_empty() {
            return;
        }
        if let Err(error) = self.kernel.apply(addresses, doors) {
            self.refused(now, &error);
        }
        self.out.addresses.clear();
        self.out.doors.clear();
    }

    /// Buries a link that has ended, and says whether the next turn has to look at it again.
    fn judge(&mut self, now: Instant, key: usize) -> bool {
        let Some(link) = self.links.get_mut(key) else {
            return false;
        };
        match link.conn.fate() {
            Fate::Alive => {
                link.queued = link.reads(Leg::Inside) || link.reads(Leg::Outside);
                let (again, waiting) = (link.queued, link.conn.all_waiting());
                if !link.connected && !link.conn.dialling() {
                    link.connected = true;
                    self.alg.connected(link.flow);
                }
                if mem::replace(&mut link.waited, waiting > 0) || waiting > 0 {
                    self.alg.waiting(now, link.flow, waiting, &mut self.out);
                }
                return again;
            }
            Fate::Closed => link.conn.part(),
            Fate::Reset => link.conn.abort(),
        }
        let link = self.links.remove(key);
        self.forget_link(link.slot);
        self.alg.close(now, link.flow, &mut self.out);
        false
    }
}

/// A leg's place in a set of legs.
fn bit(leg: Leg) -> u8 {
    1 << leg as u8
}
