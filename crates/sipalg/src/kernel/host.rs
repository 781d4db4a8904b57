//! Host settings that the gateway needs, and how they are put back.
//!
//! What is changed is written to a file before it is changed, so that a later run can put it back
//! if this one dies. The policy rules name their interface: the kernel's reverse path check, which
//! asks as if from the loopback, then never meets them, and so `rp_filter` may be as strict as it
//! likes, also with `src_valid_mark=1` (wg-quick sets that).

use super::ranges::{Range, merged, networks, without};
use super::{DIVERT_TABLE, KernelError, MARK_DIVERT, Plan, ROUTE_PROTOCOL};
use crate::log;
use crate::netlink::route::{PolicyRule, Route};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Original values by their path below `/proc/sys`.
type Settings = BTreeMap<String, String>;

const IP_FORWARD: &str = "net/ipv4/ip_forward";
/// There once connection tracking is.
const ICMP_TIMEOUT: &str = "net/netfilter/nf_conntrack_icmp_timeout";

/// The host's settings under our hands.
#[derive(Debug)]
pub(super) struct Host {
    record: PathBuf,
    /// While we hold it, no other sipalg works with this state directory.
    _lock: Flock<File>,
    /// Kept open: to look at the host twice a second would else be to open it twice a second.
    route: Route,
}

impl Host {
    /// Makes `state_dir` ours.
    pub(super) fn lock(state_dir: &Path) -> Result<Self, KernelError> {
        fs::create_dir_all(state_dir)
            .map_err(|error| KernelError::file("make the directory", state_dir, error))?;
        let path = state_dir.join("lock");
        let file = File::create(&path).map_err(|e| KernelError::file("write", &path, e))?;
        let route = Route::open()
            .map_err(|error| KernelError::refused("to tell its addresses and routes", error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Host {
                record: state_dir.join("host-settings"),
                _lock: lock,
                route,
            }),
            Err((_, Errno::EAGAIN)) => Err(KernelError::Running(state_dir.into())),
            Err((_, errno)) => Err(KernelError::file("lock", &path, errno.into())),
        }
    }

    /// The inside global addresses of `plan` that are no addresses of this host itself.
    pub(super) fn borrowed(&mut self, plan: &Plan) -> Result<Vec<Range>, KernelError> {
        let aliased = plan.sources.iter().filter(|source| source.alias);
        let globals = merged(aliased.map(|source| source.rule.globals()));
        if globals.is_empty() {
            return Ok(globals);
        }
        let own = self.route.own_addresses();
        let own =
            own.map_err(|error| KernelError::refused("to list this host's addresses", error))?;
        Ok(without(globals, &own))
    }

    /// Makes the host a router, sends packets that are marked for the proxy to it, and answers for
    /// the `borrowed` addresses. May be called again with another plan; then [`Host::forget`] ends
    /// what only the former one wanted.
    pub(super) fn set_up(&mut self, plan: &Plan, borrowed: &[Range]) -> Result<(), KernelError> {
        let refused = |error| KernelError::refused("the policy rule for the proxy", error);
        self.forward()?;
        let route = &mut self.route;
        route.add_local_default(DIVERT_TABLE).map_err(refused)?;
        // The rule of an interface that is not there yet waits for it.
        for interface in ours(plan) {
            route.add_rule(&rule(interface)).map_err(refused)?;
        }
        let refused = |error| KernelError::refused("to answer for inside global addresses", error);
        for network in borrowed.iter().flat_map(|range| networks(*range)) {
            route.add_local(network, ROUTE_PROTOCOL).map_err(refused)?;
        }
        Ok(())
    }

    /// What of [`Host::set_up`] is not there any more, as one would name it.
    pub(super) fn missing(
        &mut self,
        plan: &Plan,
        borrowed: &[Range],
    ) -> Result<Vec<String>, KernelError> {
        let refused = |error| KernelError::refused("to tell its policy rules and routes", error);
        let route = &mut self.route;
        let mut missing = Vec::new();
        let rules = route.rules().map_err(refused)?;
        for interface in ours(plan).filter(|name| !rules.contains(&rule(name))) {
            missing.push(format!(
                "the policy rule for {interface} to table {DIVERT_TABLE}"
            ));
        }
        let diverts = route.routes_in(DIVERT_TABLE, None).map_err(refused)?;
        if diverts.is_empty() {
            missing.push(format!("the route of table {DIVERT_TABLE}"));
        }
        let mut borrowed = borrowed
            .iter()
            .flat_map(|range| networks(*range))
            .peekable();
        if borrowed.peek().is_some() {
            let table = u32::from(libc::RT_TABLE_LOCAL);
            let routes = route
                .routes_in(table, Some(ROUTE_PROTOCOL))
                .map_err(refused)?;
            let there = |network| routes.iter().any(|route| route.destination == network);
            missing.extend(
                borrowed
                    .filter(|network| !there(*network))
                    .map(|(address, prefix)| format!("the local route {address}/{prefix}")),
            );
        }
        if read(IP_FORWARD)? != "1" {
            missing.push("net.ipv4.ip_forward=1".into());
        }
        Ok(missing)
    }

    /// Ends policy rules and routes of ours that `plan` does not want: those of a former plan, or of
    /// a run that crashed.
    pub(super) fn forget(&mut self, plan: &Plan, borrowed: &[Range]) -> Result<(), KernelError> {
        let rules: Vec<_> = ours(plan).map(|name| rule(name)).collect();
        let borrowed: Vec<_> = borrowed.iter().flat_map(|r| networks(*r)).collect();
        delete(&mut self.route, &rules, &borrowed).map_err(not_deleted)
    }

    /// Puts everything back as it was recorded.
    pub(super) fn put_back(&mut self) -> Result<(), KernelError> {
        delete(&mut self.route, &[], &[]).map_err(not_deleted)?;
        self.route
            .delete_local_default(DIVERT_TABLE)
            .map_err(not_deleted)?;
        for (setting, original) in in_order(self.recorded()?) {
            if read(&setting)? != original {
                set(&setting, &original)?;
            }
        }
        remove_if_there(&self.record)
    }

    /// Turns forwarding on, if it is not, with a record of what that changes.
    fn forward(&self) -> Result<(), KernelError> {
        if read(IP_FORWARD)? == "1" {
            return Ok(());
        }
        self.change(side_effects()?, IP_FORWARD, "1")
    }

    /// How long ping and the like are translated. Where that cannot be set, the operator is told.
    pub(super) fn set_icmp_timeout(&self, seconds: u32) {
        let value = seconds.to_string();
        let done = read(ICMP_TIMEOUT).and_then(|now| match now == value {
            true => Ok(()),
            false => self.change(vec![ICMP_TIMEOUT.to_owned()], ICMP_TIMEOUT, &value),
        });
        if let Err(error) = done {
            log::line(format_args!("icmp-timeout is not in force: {error}"));
        }
    }

    /// Gives a setting a value, after `affected` has been recorded.
    fn change(&self, affected: Vec<String>, setting: &str, value: &str) -> Result<(), KernelError> {
        // What a crashed run found is the original, not what it left.
        let mut originals = self.recorded()?;
        for affected in affected {
            let value = read(&affected)?;
            originals.entry(affected).or_insert(value);
        }
        self.record(&originals)?;
        set(setting, value)
    }

    /// The record of a run that did not put back what it changed; empty if there is none, or if
    /// the machine has been started since, which put everything back.
    fn recorded(&self) -> Result<Settings, KernelError> {
        let text = match fs::read_to_string(&self.record) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::new()),
            Err(error) => return Err(KernelError::file("read", &self.record, error)),
        };
        let mut lines = text.lines();
        if lines.next() != Some(boot()?.as_str()) {
            return Ok(Settings::new());
        }
        let setting = |line: &str| {
            let (setting, value) = line.split_once(' ')?;
            Some((setting.to_owned(), value.to_owned()))
        };
        Ok(lines.filter_map(setting).collect())
    }

    fn record(&self, originals: &Settings) -> Result<(), KernelError> {
        let mut text = boot()? + "\n";
        for (setting, value) in originals {
            text += &format!("{setting} {value}\n");
        }
        // A reader sees the whole record or none, whenever we die.
        let draft = self.record.with_extension("new");
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &self.record)
        };
        write().map_err(|error| KernelError::file("write", &self.record, error))
    }
}

/// `ip_forward` and what the kernel changes along with it (`inet_forward_change`).
fn side_effects() -> Result<Vec<String>, KernelError> {
    let directory = Path::new("/proc/sys/net/ipv4/conf");
    let entries = fs::read_dir(directory).map_err(|e| KernelError::file("read", directory, e))?;
    let mut settings = vec![
        IP_FORWARD.to_owned(),
        "net/ipv4/conf/all/accept_redirects".to_owned(),
    ];
    for entry in entries.flatten() {
        let interface = entry.file_name().to_string_lossy().into_owned();
        settings.push(format!("net/ipv4/conf/{interface}/forwarding"));
    }
    Ok(settings)
}

/// `ip_forward` first, because it changes the others; then those whose interface is still there.
fn in_order(mut settings: Settings) -> Vec<(String, String)> {
    let first = settings.remove_entry(IP_FORWARD);
    settings.retain(|setting, _| proc(setting).exists());
    first.into_iter().chain(settings).collect()
}

fn rule(interface: &str) -> PolicyRule {
    PolicyRule {
        priority: DIVERT_TABLE,
        mark: MARK_DIVERT,
        mask: MARK_DIVERT,
        interface: Some(interface.to_owned()),
        table: DIVERT_TABLE,
    }
}

/// Deletes all policy rules and routes of ours but those named.
fn delete(
    route: &mut Route,
    rules: &[PolicyRule],
    borrowed: &[(Ipv4Addr, u8)],
) -> Result<(), crate::netlink::Error> {
    for found in route.rules()? {
        let is_ours = found.table == DIVERT_TABLE && found.mark == MARK_DIVERT;
        if is_ours && !rules.contains(&found) {
            route.delete_rule(&found)?;
        }
    }
    let table = u32::from(libc::RT_TABLE_LOCAL);
    for found in route.routes_in(table, Some(ROUTE_PROTOCOL))? {
        if found.kind == libc::RTN_LOCAL && !borrowed.contains(&found.destination) {
            route.delete_local(found.destination, ROUTE_PROTOCOL)?;
        }
    }
    Ok(())
}

fn not_deleted(error: crate::netlink::Error) -> KernelError {
    KernelError::refused("to delete the policy rule", error)
}

fn ours(plan: &Plan) -> impl Iterator<Item = &String> {
    plan.inside.iter().chain(&plan.outside)
}

fn proc(setting: &str) -> PathBuf {
    Path::new("/proc/sys").join(setting)
}

fn read(setting: &str) -> Result<String, KernelError> {
    let path = proc(setting);
    let text = fs::read_to_string(&path).map_err(|e| KernelError::file("read", &path, e))?;
    Ok(text.trim().to_owned())
}

/// Sets a kernel setting and says so.
fn set(setting: &str, value: &str) -> Result<(), KernelError> {
    let was = read(setting)?;
    let path = proc(setting);
    fs::write(&path, value).map_err(|error| KernelError::file("write", &path, error))?;
    let name = setting.replace('/', ".");
    log::line(format_args!("set {name}={value} (was {was})"));
    Ok(())
}

/// This start of the machine.
fn boot() -> Result<String, KernelError> {
    Ok(format!("boot {}", read("kernel/random/boot_id")?))
}

fn remove_if_there(path: &Path) -> Result<(), KernelError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(KernelError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}
