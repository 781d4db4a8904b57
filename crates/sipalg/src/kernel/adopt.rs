//! What is in the kernel against what should be there: rules, doors, addresses, host settings.
//!
//! The kernel goes on with all of them when the gateway dies, so a new worker takes them over as they
//! are ([`Kernel::adopt`]). And others can change them while it runs (`nft flush ruleset`, `ip rule
//! del`): it looks for that now and then ([`Kernel::is_disturbed`]), and puts it right
//! ([`Kernel::restore`]). Both compare; what is as it should be is never touched, so that media goes
//! on without losing a packet.

use super::addresses::POOL_SETS;
use super::doors::DOOR_SETS;
use super::ruleset::Found;
use super::*;
use crate::netlink::Error;
use crate::netlink::nft::{Element, Set};
use std::fmt;
use std::time::Instant;

/// What was found when the kernel was compared with what should be there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Adopted {
    /// Doors that were there as they should be.
    pub kept: usize,
    /// Doors that were missing, wholly or in part, or led elsewhere, and were made.
    pub made: usize,
    /// Doors that should not be there, and were closed.
    pub closed: usize,
    /// Inside hosts that lacked their address of a pool without overload, and have it again.
    pub assigned: usize,
    /// Inside hosts that had such an address without being given it, and have lost it.
    pub released: usize,
    /// Whether rules or sets were other than they should be.
    pub rules: bool,
    /// Whether the whole table was missing, or could not be kept.
    pub table: bool,
    /// What of the host's settings was missing, each as a command or file would name it.
    pub settings: Vec<String>,
}

impl Adopted {
    /// Whether anything had to be done.
    pub fn is_change(&self) -> bool {
        let doors = self.made + self.closed + self.assigned + self.released > 0;
        doors || self.rules || self.table || !self.settings.is_empty()
    }
}

impl fmt::Display for Adopted {
    /// What was done, as the end of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.settings.clone();
        if self.table {
            parts.push(format!("the table `ip {TABLE}`"));
        }
        if self.rules {
            parts.push(format!("rules of the table `ip {TABLE}`"));
        }
        let counts = [
            (self.made, "doors that were missing"),
            (self.closed, "doors that should not be there"),
            (self.assigned, "addresses of hosts that were missing"),
            (self.released, "addresses of hosts that should not be there"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        parts.extend(counts.map(|(count, what)| format!("{count} {what}")));
        f.write_str(&parts.join(", "))
    }
}

/// How the kernel and we get on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Transactions that the kernel refused.
    pub refused: u64,
    /// How often something had to be put right.
    pub restored: u64,
    /// Doors that were missing then.
    pub made: u64,
    /// Doors that should not have been there.
    pub closed: u64,
    /// When it was last, and what.
    pub last: Option<(Instant, String)>,
}

/// nftables as we saw it last: its generation, and how many transactions of ours had been then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    generation: u32,
    ours: u32,
}

impl Seen {
    /// nftables as it is now.
    pub(super) fn now(nft: &mut Nft) -> Result<Self, Error> {
        let generation = nft.generation()?;
        let ours = nft.transactions();
        Ok(Seen { generation, ours })
    }
}

impl Kernel {
    /// Takes over what an earlier run has left, with its doors, counters and connections, and makes
    /// it what `plan`, `doors` and `addresses` (inside local and inside global) say. Established media
    /// loses no packet. Where no table is there, or none that can be kept, it begins anew, as
    /// [`Kernel::install`] does, and opens the doors.
    ///
    /// # Errors
    /// One sentence for the operator. What was there is left there; where nothing was, nothing is.
    pub fn adopt(
        plan: &Plan,
        state_dir: &Path,
        doors: &[Door],
        addresses: &[(Ipv4Addr, Ipv4Addr)],
    ) -> Result<(Kernel, Adopted), KernelError> {
        let mut host = Host::lock(state_dir)?;
        let refused = |error| KernelError::refused("the rules", error);
        let tables = Nft::open().and_then(|mut nft| nft.tables());
        let mut adopted = Adopted {
            table: !tables.map_err(refused)?.iter().any(|name| name == TABLE),
            ..Adopted::default()
        };
        let mut kernel = if adopted.table {
            Kernel::begin(plan, host)?
        } else {
            let parts = prepare(plan, &mut host, |nft, ruleset| {
                adopt_rules(nft, ruleset, &mut adopted)
            })?;
            Kernel::new(plan, parts, host)
        };
        kernel.adopt_doors(doors, addresses, &mut adopted)?;
        Ok((kernel, adopted))
    }

    /// Whether the kernel may be other than it should be: someone else has changed nftables or the
    /// host's settings since we last looked, or something that we wanted was refused. Then [`Kernel::restore`] knows. Takes some microseconds; what others change in
    /// nftables that is not ours counts, too.
    ///
    /// # Errors
    /// The kernel's.
    pub fn is_disturbed(&mut self) -> Result<bool, KernelError> {
        let now = Seen::now(&mut self.nft).map_err(not_compared)?;
        let by_us = now.ours.wrapping_sub(self.seen.ours);
        let by_all = now.generation.wrapping_sub(self.seen.generation);
        if self.unsure || by_us != by_all {
            return Ok(true);
        }
        self.seen = now;
        let borrowed = self.host.borrowed(&self.plan)?;
        Ok(!self.host.missing(&self.plan, &borrowed)?.is_empty())
    }

    /// Makes rules, doors, addresses and host settings what they should be, whatever they are.
    ///
    /// # Errors
    /// The kernel's. Then it is to be done again.
    pub fn restore(
        &mut self,
        doors: &[Door],
        addresses: &[(Ipv4Addr, Ipv4Addr)],
    ) -> Result<Adopted, KernelError> {
        let borrowed = self.host.borrowed(&self.plan)?;
        let mut found = Adopted {
            settings: self.host.missing(&self.plan, &borrowed)?,
            ..Adopted::default()
        };
        if !found.settings.is_empty() {
            self.host.set_up(&self.plan, &borrowed)?;
        }
        let seen = Seen::now(&mut self.nft).map_err(not_compared)?;
        self.unsure = true;
        adopt_rules(&mut self.nft, &self.ruleset, &mut found)?;
        if found.table {
            // Their counters began anew.
            self.hits.clear();
            self.cleared.clear();
        }
        if found.rules || found.table {
            self.sweep.begin_anew();
        }
        self.adopt_doors(doors, addresses, &mut found)?;
        self.seen = seen;
        self.unsure = false;
        if found.is_change() {
            self.health.restored += 1;
            self.health.made += found.made as u64;
            self.health.closed += found.closed as u64;
            self.health.last = Some((Instant::now(), found.to_string()));
        }
        Ok(found)
    }

    /// How the kernel and we get on.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What goes wrong with the next transactions, each with one; for tests.
    pub fn set_faults(&mut self, faults: impl IntoIterator<Item = nft::Fault>) {
        self.nft.set_faults(faults);
    }

    /// Makes doors and addresses what they should be.
    fn adopt_doors(
        &mut self,
        doors: &[Door],
        addresses: &[(Ipv4Addr, Ipv4Addr)],
        adopted: &mut Adopted,
    ) -> Result<(), KernelError> {
        let there = held(&mut self.nft, &DOOR_SETS).map_err(not_compared)?;
        let mut found = self.doors.reconcile(&there, doors);
        let there = held(&mut self.nft, &POOL_SETS).map_err(not_compared)?;
        let moved = self.addresses.reconcile(&there, addresses);
        let mut messages = moved.messages;
        messages.extend(found.change.messages(self.doors.elements()));
        messages.extend(self.sweep.questions(&found.change));
        let told = self.nft.exchange(messages);
        let told = told.map_err(|error| {
            // If it took effect all the same, notes of older flows are lost.
            self.sweep.begin_anew();
            KernelError::refused("the doors", error)
        })?;
        (adopted.kept, adopted.made, adopted.closed) = (found.kept, found.made, found.extra);
        (adopted.assigned, adopted.released) = (moved.assigned.len(), moved.released.len());
        let (sweep, nft) = (&mut self.sweep, &mut self.nft);
        if found.extra > 0 {
            // Of doors that nobody knew any number may have had the same end.
            sweep.begin_anew();
        }
        sweep
            .follow(nft, &self.doors, &found.change, &told)
            .and_then(|()| sweep.release(&moved.released))
            .map_err(|error| KernelError::refused("to list and delete connections", error))
    }
}

/// Makes the rules those of `ruleset`. A table that cannot be kept is replaced, which is said.
fn adopt_rules(nft: &mut Nft, ruleset: &Ruleset, adopted: &mut Adopted) -> Result<(), KernelError> {
    let refused = |error| KernelError::refused("the rules", error);
    let found = Found::read(nft, ruleset).map_err(not_compared)?;
    let Some(found) = found else {
        adopted.table = true;
        return nft.commit(ruleset.install()).map_err(refused);
    };
    let kept = match found.foreign(ruleset) {
        Some(reason) => Err(reason),
        None => {
            let messages = ruleset.adjust(&found);
            adopted.rules = !messages.is_empty();
            nft.commit(messages).map_err(|error| error.to_string())
        }
    };
    let Err(reason) = kept else { return Ok(()) };
    nft.commit(ruleset.install()).map_err(refused)?;
    (adopted.rules, adopted.table) = (false, true);
    log::line(format_args!(
        "the table `ip {TABLE}` that was there could not be kept ({reason}): it was made anew, and \
         its counters begin at zero"
    ));
    Ok(())
}

fn held(nft: &mut Nft, sets: &[&'static Set]) -> Result<Vec<(&'static Set, Vec<Element>)>, Error> {
    let held = |set: &&'static Set| Ok((*set, nft.elements(TABLE, set)?));
    sets.iter().map(held).collect()
}

fn not_compared(error: Error) -> KernelError {
    KernelError::refused("to tell what is in force", error)
}
