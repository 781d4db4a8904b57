//! What there was before this process: in the region, if the keeper has started another worker; in
//! the store, if the gateway was started anew.

use super::Options;
use crate::carrier::{Configuration, Kept};
use crate::console::Console;
use crate::keeper::herald::Herald;
use crate::keeper::layout::Name;
use crate::keeper::region::{Region, Step};
use crate::keeper::supervise::Start;
use crate::keeper::sweep::{Inherited, sweep};
use crate::kernel::{Kernel, KernelError, Plan};
use crate::listen::Listener;
use crate::log;
use crate::store::clock::{Epoch, Moment};
use crate::store::{Store, changes};
use crate::udp::Udp;
use sipalg_core::config::Config;
use sipalg_core::door::AddressOp;
use sipalg_core::kept::Restored;
use sipalg_core::{Alg, DoorOp, Outbox};
use sipalg_ios::Startup;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::mem;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub(super) struct Before {
    region: Option<Region>,
    herald: Herald,
    store: Option<Store>,
    /// A worker before this one has left its connections.
    warm: bool,
    inherited: Inherited,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    seed: u64,
    epoch: Epoch,
}

impl Before {
    /// Takes over what there is. `seed` is the machine's if there is nothing.
    ///
    /// # Errors
    /// The open files cannot be listed.
    pub fn of(options: &Options, start: Option<Start>, seed: u64) -> io::Result<Self> {
        let Some(start) = start else {
            let mut before = Before {
                region: None,
                herald: Herald::Alone,
                store: None,
                warm: false,
                inherited: Inherited::default(),
                records: BTreeMap::new(),
                seed,
                epoch: Epoch::begin(&Moment::now()),
            };
            before.load(options);
            return Ok(before);
        };
        let Start {
            shared,
            herald,
            after,
            resumed,
            ..
        } = start;
        let mut region = Region::take_over(shared);
        let inherited = match &after {
            Some(own) => sweep(&region, own)?,
            None => {
                region.bury();
                Inherited::default()
            }
        };
        let is_based = region.shared().is_based();
        let mut before = Before {
            herald,
            store: None,
            warm: after.is_some() && is_based,
            inherited,
            records: BTreeMap::new(),
            seed: region.shared().seed(),
            epoch: region.shared().epoch(),
            region: Some(region),
        };
        if is_based && (resumed || before.warm) {
            before.recall();
        } else {
            before.load(options);
        }
        Ok(before)
    }

    /// Whether connections go on.
    pub fn is_warm(&self) -> bool {
        self.warm
    }

    /// The configuration of the worker before, as it was typed and what of it is in force. A start
    /// reads the file instead.
    pub fn configuration(&self) -> Option<(Startup, Startup)> {
        if !self.warm {
            return None;
        }
        let record = |key: &[u8]| self.records.get(key).map(Vec::as_slice);
        let Configuration { typed, in_force } = Configuration::of(record)?;
        let parsed = Startup::parse(&typed).and_then(|typed| {
            let in_force = Startup::parse(&in_force)?;
            Ok((typed, in_force))
        });
        let say = |error| log::line(format_args!("the configuration in force is lost: {error}"));
        parsed.map_err(say).ok()
    }

    /// The sockets of the worker before.
    pub fn inherited(&mut self) -> Inherited {
        mem::take(&mut self.inherited)
    }

    /// These are the sockets of the worker after.
    pub fn name(&self, listener: &Listener, udp: &Udp, console: &Console) {
        if let Some(region) = &self.region {
            let shared = region.shared();
            shared.set_name(Name::Listener, Some(listener.descriptor()));
            shared.set_name(Name::Ear, Some(udp.ear()));
            shared.set_name(Name::Console, Some(console.descriptor()));
        }
    }

    /// The machine of before, under this configuration, and what the kernel must do for it.
    pub fn machine(&mut self, config: Config) -> (Alg, Outbox) {
        let mut out = Outbox::default();
        let records = mem::take(&mut self.records);
        let mut records = records.iter().map(|(key, record)| (&key[..], &record[..]));
        let now = self.epoch.now();
        let (alg, restored) = Alg::restore(config, self.seed, now, &mut records, &mut out);
        if !self.warm {
            tell(&restored);
        }
        (alg, out)
    }

    /// The kernel, which is left as it is where it agrees with the machine, and made to agree where
    /// it does not. It knows of all that was `restored` then.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kernel(
        &self,
        plan: &Plan,
        state_dir: &Path,
        restored: &mut Outbox,
    ) -> Result<Kernel, KernelError> {
        let doors = restored.doors.drain(..).filter_map(|op| match op {
            DoorOp::Open(door) => Some(door),
            _ => None,
        });
        let addresses = restored.addresses.drain(..).filter_map(|op| match op {
            AddressOp::Assign { local, global } => Some((local, global)),
            AddressOp::Release { .. } => None,
        });
        let (doors, addresses): (Vec<_>, Vec<_>) = (doors.collect(), addresses.collect());
        let (kernel, adopted) = Kernel::adopt(plan, state_dir, &doors, &addresses)?;
        if adopted.closed > 0 {
            log::line(format_args!(
                "{} doors that nobody needs any more are closed",
                adopted.closed
            ));
        }
        Ok(kernel)
    }

    /// All that another gateway has is there. A test may have the process end here.
    pub fn taken(&self) {
        if let Some(region) = &self.region {
            region.step(Step::Taken);
            region.step(Step::Stuck);
        }
    }

    /// Where things are kept, what instants count from, and who hears how it goes.
    pub fn into_parts(self, options: &Options) -> (Kept, Epoch, Herald) {
        let mut kept = Kept::new(self.region);
        // One that continues did not look into the store: it knows better.
        let begin = || Store::begin(&places(options), self.seed, self.epoch);
        kept.set_store(self.store.unwrap_or_else(begin));
        (kept, self.epoch, self.herald)
    }

    /// The records of the region.
    fn recall(&mut self) {
        if let Some(region) = &self.region {
            for (key, value) in changes::each(region.records()) {
                match value {
                    Some(value) => drop(self.records.insert(key.into(), value.into())),
                    None => drop(self.records.remove(key)),
                }
            }
        }
    }

    /// The records of the store.
    fn load(&mut self, options: &Options) {
        let (store, loaded) = Store::open(&places(options), self.seed);
        for note in &loaded.notes {
            log::line(format_args!("{note}"));
        }
        (self.records, self.seed, self.epoch) = (loaded.records, loaded.seed, loaded.epoch);
        if let Some(region) = &self.region {
            region.shared().set_seed(self.seed);
            region.shared().set_epoch(self.epoch);
        }
        self.store = Some(store);
    }
}

/// Where the store may be, best first.
fn places(options: &Options) -> [&Path; 2] {
    let runtime = options.socket.parent().unwrap_or(Path::new("/"));
    [&options.state_dir, runtime]
}

/// Where the host's original settings are kept: where the operator says, if that can be written;
/// `tell` if it cannot.
pub(super) fn state_dir(options: &Options, tell: bool) -> PathBuf {
    let [wanted, runtime] = places(options);
    match try_to_write(wanted) {
        Ok(()) => wanted.into(),
        Err(error) => {
            if tell {
                log::line(format_args!(
                    "cannot write in {}: {error}; the host's original settings are kept in {} until \
                     the next start",
                    wanted.display(),
                    runtime.display()
                ));
            }
            runtime.into()
        }
    }
}

fn try_to_write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let trial = directory.join("trial");
    let written = fs::write(&trial, [0; 4096]);
    match fs::remove_file(&trial) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => written,
    }
}

/// Says what there is of before, if there is anything.
fn tell(restored: &Restored) {
    let Restored {
        mappings,
        doors,
        calls,
        registrations,
        left_out,
        ..
    } = restored;
    if mappings + calls + registrations > 0 {
        log::line(format_args!(
            "going on with {mappings} mappings, {doors} doors, {calls} calls and {registrations} \
             registrations of before"
        ));
    }
    if *left_out > 0 {
        log::line(format_args!(
            "{left_out} records of calls, registrations and mappings were left out: they are damaged, \
             or the configuration does not give what they say"
        ));
    }
}
