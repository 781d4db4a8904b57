//! The machine's state as records, and a machine from records: see [`kept`].

use super::{Alg, context};
use crate::addr::FlowId;
use crate::config::Config;
use crate::counters::Counters;
use crate::kept::{self, Machine, Name, Note, Recorder, Restored, Sink, decode};
use crate::nat::Context;
use crate::outbox::Outbox;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What the machine remembers of the records that it has told.
#[derive(Debug, Default)]
pub(super) struct Records {
    on: bool,
    /// Of what the machine counts, and what that was.
    machine: Note,
    counted: Option<Machine>,
    /// Memory to work in.
    memory: (Vec<u8>, Vec<u8>),
    /// Names of records that are none of ours.
    strays: Vec<Box<[u8]>>,
}

/// What is told.
impl Alg {
    /// From now on changes are noted for [`kept`](Self::kept); everything there is counts as changed.
    pub fn keep(&mut self) {
        self.records.on = true;
        self.records.machine = Note::default();
        self.records.counted = None;
        self.nat.keep();
        self.calls.keep();
        self.registrations.keep();
        self.spellings.record_all();
        self.flows.begin();
    }

    /// Tells what has changed since the last call, in a fixed order: the name and the record of an
    /// object, or no record if it is no more; each name at most once. What was told and then restored
    /// is as the machine is now.
    pub fn kept(&mut self, sink: &mut Sink<'_>) {
        if !self.records.on {
            return;
        }
        for stray in core::mem::take(&mut self.records.strays) {
            sink(&stray, None);
        }
        let memory = core::mem::take(&mut self.records.memory);
        let mut recorder = Recorder::new(memory, (&self.timers, self.config.timers.use_tick), sink);
        let machine = Machine {
            random: self.nat.random(),
            flows: self.serial,
            calls: self.calls.number(),
        };
        if self.records.counted.as_ref() != Some(&machine) {
            recorder.is(Name::Machine, &mut self.records.machine, &machine);
            self.records.counted = Some(machine);
        }
        self.nat.kept(&mut recorder);
        self.calls.kept(&self.nat, &mut recorder);
        self.registrations.kept(&self.nat, &mut recorder);
        self.spellings.kept(&mut recorder);
        self.flows.kept(&self.nat, &mut recorder);
        self.records.memory = recorder.memory();
    }

    /// New rules may have ended what others name.
    pub(super) fn mark_all(&mut self) {
        self.calls.mark_all();
        self.registrations.mark_all();
        self.flows.mark_all();
    }
}

/// What comes back.
impl Alg {
    /// A machine with the state of these records, under this configuration: of two with the same name
    /// the later one counts. `seed` must be the one under which they were made. What is damaged, of
    /// another version, contradicts another, is more than the limits allow or nothing that the rules
    /// give is left out and counted, never trusted; so is what has an address that the rules put
    /// elsewhere now. Names that begin with 0 are the program's own, and passed over.
    ///
    /// `out` gets an [`Open`](crate::DoorOp::Open) for every door and an
    /// [`Assign`](crate::door::AddressOp::Assign) for every address that there is, whether the kernel
    /// has them or not. What was due while nobody listened is due at once, but for calls that are
    /// up: they are given another while to be heard of.
    ///
    /// Reserved ports and dry runs are not recorded: tell them anew, with what the framers
    /// [held](Self::held). Nothing is noted until [`keep`](Self::keep); the first
    /// [`kept`](Self::kept) after that also says which of the records are no more.
    pub fn restore(
        config: Config,
        seed: u64,
        now: Instant,
        records: &mut dyn Iterator<Item = (&[u8], &[u8])>,
        out: &mut Outbox,
    ) -> (Alg, Restored) {
        let mut alg = Alg::empty(config, seed);
        let mut restored = Restored::default();
        let mut by_name = BTreeMap::new();
        for (name, record) in records {
            match Name::read(name) {
                Some(name) => {
                    by_name.insert(name, record);
                }
                None if name.first() == Some(&0) => {}
                None => {
                    restored.left_out += 1;
                    alg.records.strays.push(name.into());
                }
            }
        }
        alg.records.strays.sort_unstable();
        alg.records.strays.dedup();
        for (name, record) in by_name {
            alg.found(name);
            if !alg.put_back(now, name, record) {
                restored.left_out += 1;
                if let Name::Flow(id) = name {
                    restored.lost.push(FlowId(id));
                }
            }
        }
        alg.flows.restored();
        alg.settle(now, &mut restored, out);
        (alg, restored)
    }

    /// All that the records gave is there: the rules decide what remains of it.
    fn settle(&mut self, now: Instant, restored: &mut Restored, out: &mut Outbox) {
        let mut cx = context!(self, now);
        // The kernel is not told of what came to nothing.
        let mut unseen = Outbox::default();
        let changed = self.nat.renew(&mut cx, &mut unseen);
        let ended = changed.iter().filter(|id| self.nat.at(**id).is_none());
        restored.left_out += ended.count();
        for flow in self.without_address(&changed) {
            self.close(now, flow, &mut unseen);
            restored.lost.push(flow);
        }
        restored.lost.sort_unstable();
        let flows: Vec<_> = self.flows.iter().map(|(id, _)| FlowId(id)).collect();
        for flow in &flows {
            self.watch_silence(now, *flow);
        }
        let mut cx = context!(self, now);
        let opened = out.doors.len();
        self.nat.restored(&mut cx, out);
        restored.doors = out.doors.len() - opened;
        restored.mappings = self.nat.list().len();
        restored.bars = self.nat.bars();
        restored.addresses = self.nat.assigned().count();
        restored.calls = self.calls.len();
        restored.pending = self.registrations.waiting();
        restored.registrations = self.registrations.len();
        restored.spellings = self.spellings.len();
        restored.flows = flows.len();
        // What is counted is what happened since, and what there is must end.
        self.counters = Counters {
            doors_opened: restored.doors as u64,
            ..Counters::default()
        };
    }

    /// A record of that name was there: the next time that changes are told, this is, too.
    fn found(&mut self, name: Name) {
        match name {
            Name::Machine => {}
            Name::Address(_) | Name::Bar(_) | Name::Mapping(_) => self.nat.found(name),
            Name::Call(conversation) => self.calls.found(conversation),
            Name::Pending(_) | Name::Registration(..) => self.registrations.found(name),
            Name::Spellings(conversation) => self.spellings.found(conversation),
            Name::Flow(id) => self.flows.changes().found(id),
        }
    }

    /// One object is there again: whether it is.
    fn put_back(&mut self, now: Instant, name: Name, record: &[u8]) -> bool {
        let put = match name {
            Name::Flow(id) => decode(record).map(|flow| self.restore_flow(now, id, &flow)),
            _ => self.put_back_in_tables(now, name, record),
        };
        put.unwrap_or(false)
    }

    fn put_back_in_tables(&mut self, now: Instant, name: Name, record: &[u8]) -> Option<bool> {
        let mut cx: Context<'_> = context!(self, now);
        let (cx, nat) = (&mut cx, &mut self.nat);
        Some(match name {
            Name::Machine => {
                let Machine {
                    random,
                    flows,
                    calls,
                } = decode(record)?;
                nat.set_random(random);
                self.serial = flows.min(kept::MOST_COUNTED);
                self.calls.set_number(calls.min(kept::MOST_COUNTED));
                true
            }
            Name::Address(host) => nat.restore_address(cx, host, &decode(record)?),
            Name::Bar(at) => nat.restore_bar(cx, at, &decode(record)?),
            Name::Mapping(at) => nat.restore_mapping(cx, at, &decode(record)?),
            Name::Call(conversation) => {
                let record: kept::Call<'_> = decode(record)?;
                self.calls.restore(cx, nat, conversation, record)
            }
            Name::Pending(key) => {
                let record = decode(record)?;
                self.registrations.restore_pending(cx, nat, key, &record)
            }
            Name::Registration(at, aor) => {
                let name = (at, aor);
                self.registrations.restore(cx, nat, name, &decode(record)?)
            }
            Name::Spellings(conversation) => {
                self.spellings.restore(cx, conversation, &decode(record)?)
            }
            Name::Flow(_) => false,
        })
    }
}
