//! Who has how much of what: the one place where it is decided whether there is room for one more,
//! in all and for its inside host.
//!
//! A host's account is there while it has anything, so that there are no more accounts than things
//! that are bounded themselves. Whoever has an account's number asks without looking it up.
//!
//! Messages are counted by seconds. When there are too many in all, those hosts wait for the next
//! second that have sent more than an equal share, and no others.

use crate::addr::Ipv4Addr;
use crate::config::{Config, Resource};
use crate::event::Event;
use crate::kept::{Named, Note};
use crate::outbox::Outbox;
use crate::slab::{Entry, Slab};
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

const KINDS: usize = Resource::ALL.len();

/// How often the operator is told of one host and one resource.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How many hosts of a resource are shown.
const SHOWN: usize = 3;

/// Names the account of an inside host while that has anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccountId(u32);

/// Whose word a message is. They are counted apart, so that what an outside host says is at the cost of
/// nobody but itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// An inside host's.
    ByHost,
    /// An outside host's that the inside host has asked.
    ToHost,
    /// An outside host's that was not asked.
    Unasked,
}

/// See the module.
#[derive(Debug)]
pub struct Admission {
    totals: [Total; KINDS],
    names: HashMap<Ipv4Addr, AccountId, FixedState>,
    accounts: Slab<Account>,
    /// TCP connections and flows of datagrams that outside hosts have opened.
    from_outside: [u64; 2],
    second: Second,
    /// What the machine has room for, where that is less than configured.
    ceilings: [u64; KINDS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    used: u64,
    peak: u64,
    refused: u64,
}

/// The second in which messages are counted.
#[derive(Debug, Default)]
struct Second {
    number: u64,
    /// How many hosts have spoken in it, and in the one before.
    hosts: u64,
    before: u64,
    /// How many messages there were in the one before.
    messages_before: u64,
}

#[derive(Debug)]
struct Account {
    host: Ipv4Addr,
    trusted: bool,
    used: [u64; KINDS],
    refused: [u64; KINDS],
    /// Until when the operator needs not be told again.
    told: [Instant; KINDS],
    /// TCP connections and flows of datagrams that outside hosts have opened to it.
    from_outside: [u64; 2],
    /// The second in which it has last spoken, and how many messages there were of each [`Said`].
    second: u64,
    messages: [u64; 3],
    note: Note,
}

/// How full something is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitView {
    /// What.
    pub resource: Resource,
    /// How much there is; of messages, those of the last whole second.
    pub used: u64,
    /// How much there was at most.
    pub peak: u64,
    /// How often there was no room.
    pub refused: u64,
    /// How much there may be in all.
    pub limit: u64,
    /// How much one host may have.
    pub host: u64,
    /// How much one trusted host may have.
    pub trusted: u64,
    /// The hosts that are nearest to theirs, and those that were refused.
    pub hosts: Vec<ShareView>,
}

/// How much a host has of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareView {
    /// The host.
    pub host: Ipv4Addr,
    /// How much it has.
    pub used: u64,
    /// How much it may have.
    pub limit: u64,
    /// How often it was refused, since it has anything.
    pub refused: u64,
}

/// What comes and goes.
impl Admission {
    /// Nobody has anything.
    pub fn new(seed: u64) -> Self {
        Admission {
            totals: [Total::default(); KINDS],
            names: HashMap::with_hasher(FixedState::with_seed(seed)),
            accounts: Slab::default(),
            from_outside: [0; 2],
            second: Second::default(),
            ceilings: [u64::MAX; KINDS],
        }
    }

    /// The machine has room for no more than `most` in all, whatever is configured.
    pub fn set_ceiling(&mut self, of: Resource, most: u64) {
        self.ceilings[of as usize] = most;
    }

    /// Whether `host` may have `more` of something. If not, it is counted and told.
    pub fn admits(
        &mut self,
        (now, config): (Instant, &Config),
        of: Resource,
        host: Ipv4Addr,
        more: u64,
        out: &mut Outbox,
    ) -> bool {
        let Err(share) = self.fits(config, of, host, more) else {
            return true;
        };
        self.refuse(now, of, host, share, out);
        false
    }

    /// The same without a word: whether there is something to be done before it is asked for.
    pub fn has_room(&self, config: &Config, of: Resource, host: Ipv4Addr, more: u64) -> bool {
        self.fits(config, of, host, more).is_ok()
    }

    /// Whether there is room; if not, how much the host may have, unless there is too much in all.
    fn fits(
        &self,
        config: &Config,
        of: Resource,
        host: Ipv4Addr,
        more: u64,
    ) -> Result<(), Option<u64>> {
        let account = self.account(host);
        let trusted = account.map_or_else(|| config.trusts(host), |account| account.trusted);
        let has = account.map_or(0, |account| account.used[of as usize]);
        let share = self.share(config, of, trusted);
        let all = self.room(config, of);
        let whole = self.totals[of as usize].used.saturating_add(more) > all;
        if more == 0 || (!whole && has.saturating_add(more) <= share) {
            Ok(())
        } else {
            Err((!whole).then_some(share))
        }
    }

    /// Whether one more connection or flow of datagrams may be opened by an outside host to `host`:
    /// such may be half of what there may be in all, and of the host's own. If not, it is counted and
    /// told.
    pub fn admits_from_outside(
        &mut self,
        (now, config): (Instant, &Config),
        of: Resource,
        host: Ipv4Addr,
        out: &mut Outbox,
    ) -> bool {
        let kind = usize::from(of == Resource::DatagramFlow);
        let account = self.account(host);
        let has = account.map_or(0, |account| account.from_outside[kind]);
        let trusted = account.map_or_else(|| config.trusts(host), |account| account.trusted);
        let share = self.share(config, of, trusted).div_ceil(2);
        let whole = self.from_outside[kind] >= self.room(config, of).div_ceil(2);
        if whole || has >= share {
            self.refuse(now, of, host, (!whole).then_some(share), out);
            return false;
        }
        self.admits((now, config), of, host, 1, out)
    }

    /// `host` has `more` of something.
    pub fn take(&mut self, config: &Config, of: Resource, host: Ipv4Addr, more: u64) -> AccountId {
        let id = match self.names.get(&host) {
            Some(id) => *id,
            None => {
                let account = Account::new(host, config.trusts(host));
                let id = AccountId(self.accounts.insert(account));
                self.names.insert(host, id);
                id
            }
        };
        self.take_by(id, of, more);
        id
    }

    /// The same, by the number of its account.
    pub fn take_by(&mut self, id: AccountId, of: Resource, more: u64) {
        let total = &mut self.totals[of as usize];
        total.used = total.used.saturating_add(more);
        total.peak = total.peak.max(total.used);
        if let Some(account) = self.accounts.get_mut(id.0) {
            account.used[of as usize] += more;
        }
    }

    /// `host` has so much `less` of something.
    pub fn give(&mut self, of: Resource, host: Ipv4Addr, less: u64) {
        if let Some(id) = self.names.get(&host).copied() {
            self.give_by(id, of, less);
        }
    }

    /// The same, by the number of its account.
    pub fn give_by(&mut self, id: AccountId, of: Resource, less: u64) {
        let total = &mut self.totals[of as usize];
        total.used = total.used.saturating_sub(less);
        let Some(account) = self.accounts.get_mut(id.0) else {
            return;
        };
        let used = &mut account.used[of as usize];
        *used = used.saturating_sub(less);
        if account.is_empty() {
            let host = account.host;
            self.accounts.remove(id.0);
            self.names.remove(&host);
        }
    }

    /// An outside host has opened a connection or flow of datagrams.
    pub fn opened_from_outside(&mut self, id: AccountId, of: Resource) {
        let kind = usize::from(of == Resource::DatagramFlow);
        self.from_outside[kind] += 1;
        if let Some(account) = self.accounts.get_mut(id.0) {
            account.from_outside[kind] += 1;
        }
    }

    /// One of those is gone. Comes before the host has one less.
    pub fn closed_from_outside(&mut self, id: AccountId, of: Resource) {
        let kind = usize::from(of == Resource::DatagramFlow);
        self.from_outside[kind] = self.from_outside[kind].saturating_sub(1);
        if let Some(account) = self.accounts.get_mut(id.0) {
            account.from_outside[kind] = account.from_outside[kind].saturating_sub(1);
        }
    }

    /// Other rules from now on: who is trusted is asked anew.
    pub fn renew(&mut self, config: &Config) {
        let ids: Vec<u32> = self.accounts.iter().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(account) = self.accounts.get_mut(id) {
                account.trusted = config.trusts(account.host);
            }
        }
    }
}

/// Messages and memory.
impl Admission {
    /// Messages came from a host, or from outside for it.
    pub fn spoke(&mut self, now: Instant, id: AccountId, said: Said, messages: u64) {
        self.turn(now);
        let total = &mut self.totals[Resource::Message as usize];
        total.used += messages;
        total.peak = total.peak.max(total.used);
        let Some(account) = self.accounts.get_mut(id.0) else {
            return;
        };
        if account.second != self.second.number || account.messages == [0; 3] {
            account.second = self.second.number;
            account.messages = [0; 3];
            self.second.hosts += 1;
        }
        account.messages[said as usize] += messages;
    }

    /// Until when no more may be taken from a host, or from outside for it, if it has had too much.
    pub fn waits(
        &mut self,
        (now, config): (Instant, &Config),
        id: AccountId,
        said: Said,
    ) -> Option<Instant> {
        self.turn(now);
        let account = self.accounts.get(id.0)?;
        let spoke = account.second == self.second.number;
        let said = account.messages[said as usize];
        if !spoke || said == 0 {
            return None;
        }
        let all = self.room(config, Resource::Message);
        let total = self.totals[Resource::Message as usize].used;
        let hosts = self.second.hosts.max(self.second.before).max(1);
        let over = said >= self.share(config, Resource::Message, account.trusted)
            || (total >= all && said >= all / hosts);
        over.then(|| Instant::from_micros((self.second.number + 1) * SECOND))
    }

    /// Something was not taken, or was taken back, because the host has had its share: it is counted
    /// and told.
    pub fn had_its_share(
        &mut self,
        (now, config): (Instant, &Config),
        of: Resource,
        id: AccountId,
        out: &mut Outbox,
    ) {
        if let Some((host, trusted)) = self.accounts.get(id.0).map(|a| (a.host, a.trusted)) {
            let share = self.share(config, of, trusted);
            self.refuse(now, of, host, Some(share), out);
        }
    }

    /// The host that has to give back memory, if that of `id` has more than its share, or there is
    /// more in all than there may be: the one that has most.
    pub fn debtor(&self, config: &Config, id: AccountId) -> Option<AccountId> {
        let of = Resource::Memory;
        let account = self.accounts.get(id.0)?;
        if account.used[of as usize] > self.share(config, of, account.trusted) {
            return Some(id);
        }
        if self.totals[of as usize].used <= self.room(config, of) {
            return None;
        }
        let most = |(id, account): (u32, &Account)| (account.used[of as usize], id);
        let (_, id) = self.accounts.iter().map(most).max()?;
        Some(AccountId(id))
    }

    /// Begins another second, if it is time.
    fn turn(&mut self, now: Instant) {
        let number = now.as_micros() / SECOND;
        if number == self.second.number {
            return;
        }
        let total = &mut self.totals[Resource::Message as usize];
        let next = number == self.second.number + 1;
        self.second = Second {
            number,
            hosts: 0,
            before: if next { self.second.hosts } else { 0 },
            messages_before: if next { total.used } else { 0 },
        };
        total.used = 0;
    }
}

/// Microseconds.
const SECOND: u64 = 1_000_000;

/// Views.
impl Admission {
    /// How much a host has of something.
    pub fn of_host(&self, of: Resource, host: Ipv4Addr) -> u64 {
        let account = self.account(host);
        account.map_or(0, |account| account.used[of as usize])
    }

    /// How much there is of something, and was at most.
    pub fn in_all(&self, of: Resource) -> (u64, u64) {
        let Total { used, peak, .. } = self.totals[of as usize];
        (used, peak)
    }

    /// How much there may be of something in all.
    pub fn room(&self, config: &Config, of: Resource) -> u64 {
        config.limits.bound(of).all.min(self.ceilings[of as usize])
    }

    /// How often there was no room for something.
    pub fn refused(&self, of: Resource) -> u64 {
        self.totals[of as usize].refused
    }

    /// The most that one host has of something.
    pub fn most(&self, of: Resource) -> u64 {
        let used = self.accounts.iter().map(|(_, a)| a.used[of as usize]);
        used.max().unwrap_or(0)
    }

    /// Every resource with the hosts that are nearest to their limit.
    pub fn views(&mut self, now: Instant, config: &Config) -> Vec<LimitView> {
        self.turn(now);
        Resource::ALL
            .map(|of| self.view(config, of))
            .into_iter()
            .collect()
    }

    fn view(&self, config: &Config, of: Resource) -> LimitView {
        let Total {
            used,
            peak,
            refused,
        } = self.totals[of as usize];
        let now = match of {
            Resource::Message => self.second.messages_before,
            _ => used,
        };
        let hosts = self.accounts.iter().map(|(_, account)| ShareView {
            host: account.host,
            used: account.now(of),
            limit: self.share(config, of, account.trusted),
            refused: account.refused[of as usize],
        });
        let mut hosts: Vec<_> = hosts.filter(|h| h.used > 0 || h.refused > 0).collect();
        let nearness = |h: &ShareView| (h.used.saturating_mul(1000) / h.limit.max(1), h.refused);
        hosts.sort_unstable_by_key(|h| (core::cmp::Reverse(nearness(h)), h.host));
        hosts.truncate(SHOWN);
        LimitView {
            resource: of,
            used: now,
            peak,
            refused,
            limit: self.room(config, of),
            host: self.share(config, of, false),
            trusted: self.share(config, of, true),
            hosts,
        }
    }

    fn account(&self, host: Ipv4Addr) -> Option<&Account> {
        self.accounts.get(self.names.get(&host)?.0)
    }

    /// A quarter of a ceiling is a quarter of what there really is, unless the operator says how much.
    fn share(&self, config: &Config, of: Resource, trusted: bool) -> u64 {
        let ceiling = self.ceilings[of as usize];
        let bound = config.limits.bound(of);
        let most = match trusted {
            true => bound.trusted.unwrap_or(ceiling - ceiling / 4),
            false => bound.host.unwrap_or(ceiling / 4),
        };
        config
            .limits
            .share(of, trusted)
            .min(most.clamp(1, ceiling.max(1)))
    }

    /// Counts a refusal, and tells of it now and then; `share` is the host's, if that is the reason.
    fn refuse(
        &mut self,
        now: Instant,
        of: Resource,
        host: Ipv4Addr,
        share: Option<u64>,
        out: &mut Outbox,
    ) {
        self.totals[of as usize].refused += 1;
        let id = self.names.get(&host).copied();
        if let Some(account) = id.and_then(|id| self.accounts.get_mut(id.0)) {
            account.refused[of as usize] += 1;
            let told = &mut account.told[of as usize];
            if now < *told {
                return;
            }
            *told = now + TOLD_EVERY;
        }
        out.alarm(Event::LimitReached {
            resource: of,
            host,
            share,
        });
    }
}

impl Named<u32> for Account {
    // Nothing of it is recorded: it is what others have.
    type Name = u32;
    fn name(&self, id: &u32) -> u32 {
        *id
    }
}

impl Entry for Account {
    fn note(&mut self) -> &mut Note {
        &mut self.note
    }
}

impl Account {
    fn new(host: Ipv4Addr, trusted: bool) -> Self {
        Account {
            host,
            trusted,
            used: [0; KINDS],
            refused: [0; KINDS],
            told: [Instant::ZERO; KINDS],
            from_outside: [0; 2],
            second: 0,
            messages: [0; 3],
            note: Note::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.used == [0; KINDS]
    }

    fn now(&self, of: Resource) -> u64 {
        match of {
            Resource::Message => self.messages.iter().copied().max().unwrap_or(0),
            _ => self.used[of as usize],
        }
    }
}
