//! What there was before this process: in the region, if the keeper has started another worker; in
//! the store, if the gateway was started anew.

use super::Options;
use crate::carrier::{Configuration, Kept};
use crate::console::Console;
use crate::keeper::layout::Name;
use crate::keeper::region::Region;
use crate::keeper::supervise::{Herald, Start};
use crate::keeper::sweep::{Inherited, sweep};
use crate::listen::Listener;
use crate::log;
use crate::store::clock::{Epoch, Moment};
use crate::store::{Store, changes};
use crate::udp::Udp;
use sipalg_core::config::Config;
use sipalg_core::{Alg, Outbox};
use sipalg_ios::Startup;
use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::path::Path;

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
        if restored.left_out > 0 {
            log::line(format_args!(
                "{} records of calls, registrations and mappings did not fit and were left out",
                restored.left_out
            ));
        }
        (alg, out)
    }

    /// Where things are kept, what instants count from, and who hears how it goes.
    pub fn into_parts(self, options: &Options) -> (Kept, Epoch, Herald) {
        let mut kept = Kept::new(self.region);
        // One that continues did not look into the store yet: it is in a hurry.
        let store = self.store.unwrap_or_else(|| open(options, self.seed).0);
        kept.set_store(store);
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
        let (store, loaded) = open(options, self.seed);
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

fn open(options: &Options, seed: u64) -> (Store, crate::store::Loaded) {
    let folder = options.socket.parent().unwrap_or(Path::new("/"));
    Store::open(&[&options.state_dir, folder], seed)
}
