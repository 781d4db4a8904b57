//! What the processors spent, and on whom.

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The programs on the path.
#[derive(Debug)]
pub struct Meter {
    /// The load's client.
    pub client: i32,
    /// Its server.
    pub server: i32,
    /// The gateway's programs; their children count, too.
    pub gateway: Vec<i32>,
    /// Whether the kernel counts interrupts apart from the programs that they interrupt.
    pub interrupts: bool,
}

/// How much everybody has spent up to a moment.
#[derive(Debug)]
pub struct Sample {
    at: Instant,
    client: Duration,
    server: Duration,
    gateway: Duration,
    kernel: Duration,
    machine: Machine,
}

/// What was spent between two moments, seconds.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Spent {
    /// How long it was.
    pub seconds: f64,
    /// By the client.
    pub client: f64,
    /// By the server.
    pub server: f64,
    /// By the programs of the gateway.
    pub gateway: f64,
    /// By the kernel's own threads that forward and clean up, and in interrupts where these are
    /// counted apart.
    pub kernel: f64,
    /// By all others.
    pub other: f64,
    /// By other machines on the same hardware.
    pub stolen: f64,
}

impl Spent {
    /// By the whole path.
    pub fn total(&self) -> f64 {
        self.client + self.server + self.gateway + self.kernel
    }

    /// How many processors others kept busy.
    pub fn other_cores(&self) -> f64 {
        (self.other + self.stolen) / self.seconds.max(f64::EPSILON)
    }
}

impl Meter {
    /// What everybody has spent until now.
    pub fn sample(&self) -> Sample {
        let processes = processes();
        let gateway = of_tree(&processes, &self.gateway);
        let dead: Duration = gateway.iter().map(|pid| processes[pid].children).sum();
        Sample {
            at: Instant::now(),
            client: time_of(self.client),
            server: time_of(self.server),
            gateway: gateway.iter().map(|&pid| time_of(pid)).sum::<Duration>() + dead,
            kernel: forwarding(&processes).map(time_of).sum(),
            machine: Machine::now(),
        }
    }

    /// What was spent since then.
    pub fn since(&self, before: &Sample) -> Spent {
        let now = self.sample();
        let less = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64();
        let (machine, was) = (&now.machine, &before.machine);
        let mut spent = Spent {
            seconds: less(now.at - before.at, Duration::ZERO),
            client: less(now.client, before.client),
            server: less(now.server, before.server),
            gateway: less(now.gateway, before.gateway),
            kernel: less(now.kernel, before.kernel),
            other: 0.0,
            stolen: machine.stolen - was.stolen,
        };
        if self.interrupts {
            spent.kernel += machine.interrupts - was.interrupts;
        }
        spent.other = (machine.busy - was.busy - spent.total()).max(0.0);
        spent
    }
}

/// The processes of these trees.
pub fn tree(roots: &[i32]) -> Vec<i32> {
    of_tree(&processes(), roots)
}

/// How much memory these processes have for themselves, bytes: what several share counts once.
pub fn memory(roots: &[i32]) -> u64 {
    tree(roots).into_iter().map(memory_of).sum()
}

/// What the kernel keeps in memory for itself, bytes.
pub fn slab() -> u64 {
    kilobytes("/proc/meminfo", "Slab:")
}

/// Whether the kernel counts the time of interrupts apart; if that cannot be found out, it does
/// not.
pub fn counts_interrupts() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let files = [
        "/proc/config.gz".to_owned(),
        format!("/boot/config-{}", release.trim()),
    ];
    files
        .iter()
        .filter(|file| Path::new(file).exists())
        .any(|file| {
            let setting = "^CONFIG_IRQ_TIME_ACCOUNTING=y";
            let grep = Command::new("zgrep").args(["-q", setting, file]).status();
            grep.is_ok_and(|status| status.success())
        })
}

/// What is asked of a process.
struct Process {
    parent: i32,
    name: String,
    /// What its children spent that are no more.
    children: Duration,
}

fn processes() -> BTreeMap<i32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, Process::parse(&stat)?))
        })
        .collect()
}

/// What the kernel counts a second in, whatever its clock (proc(5)).
const TICKS: f64 = 100.0;

impl Process {
    /// Reads a line of `/proc/PID/stat`.
    fn parse(stat: &str) -> Option<Self> {
        let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
        let fields: Vec<_> = stat[end + 1..].split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Process {
            parent: fields.get(1)?.parse().ok()?,
            name: stat[begin + 1..end].to_owned(),
            children: Duration::from_secs_f64((ticks(13)? + ticks(14)?) / TICKS),
        })
    }
}

fn of_tree(processes: &BTreeMap<i32, Process>, roots: &[i32]) -> Vec<i32> {
    let mut tree = roots.to_vec();
    tree.retain(|pid| processes.contains_key(pid));
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        tree.extend(
            processes
                .iter()
                .filter(|(_, of)| of.parent == parent)
                .map(|(&pid, _)| pid),
        );
        at += 1;
    }
    tree
}

/// The parent of the kernel's threads.
const KERNEL: i32 = 2;

/// The kernel's threads that work for the path: those that forward what a program's own system
/// calls did not, and those that clean up after rules and connections. Work for disks is not
/// done by these.
fn forwarding(processes: &BTreeMap<i32, Process>) -> impl Iterator<Item = i32> {
    let works = |of: &Process| {
        let bound = of.name.strip_prefix("kworker/").is_some_and(|rest| {
            !rest.starts_with(['u', 'R'])
                && !rest
                    .split(['-', '+'])
                    .next()
                    .is_some_and(|cpu| cpu.ends_with('H'))
        });
        of.parent == KERNEL && (of.name.starts_with("ksoftirqd/") || bound)
    };
    processes
        .iter()
        .filter(move |(_, of)| works(of))
        .map(|(&pid, _)| pid)
}

/// What all threads of a process have spent, those that ended included.
fn time_of(pid: i32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(pid));
    clock
        .and_then(|clock| clock.now())
        .map_or(Duration::ZERO, Duration::from)
}

fn memory_of(pid: i32) -> u64 {
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kilobytes(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// What all processors did, seconds.
#[derive(Debug, Default)]
struct Machine {
    busy: f64,
    interrupts: f64,
    stolen: f64,
}

impl Machine {
    fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let numbers: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        let at = |place: usize| numbers.get(place).copied().unwrap_or(0.0) / TICKS;
        Machine {
            busy: at(0) + at(1) + at(2) + at(5) + at(6),
            interrupts: at(5) + at(6),
            stolen: at(7),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 10 20 300 50 20 0 1 0";
        let process = Process::parse(stat).expect("a process");
        assert_eq!((process.parent, process.name.as_str()), (7, "a) b (c"));
        assert_eq!(process.children, Duration::from_millis(3500));
    }

    #[test]
    fn kernel_threads_count_that_forward_and_none_that_write_to_disks() {
        let names = [
            ("ksoftirqd/1", true),
            ("kworker/0:1-events", true),
            ("kworker/0:1H-kblockd", false),
            ("kworker/u8:2-flush", false),
            ("kworker/R-netns", false),
            ("kcompactd0", false),
        ];
        let process = |(pid, (name, _)): (usize, &(&str, bool))| {
            let of = Process {
                parent: KERNEL,
                name: (*name).to_owned(),
                children: Duration::ZERO,
            };
            (pid as i32, of)
        };
        let processes: BTreeMap<_, _> = names.iter().enumerate().map(process).collect();
        let counted: Vec<_> = forwarding(&processes)
            .map(|pid| names[pid as usize])
            .collect();
        assert_eq!(counted, names[..2]);
    }

    #[test]
    fn the_time_of_a_process_goes_on_while_it_works() {
        let own = std::process::id() as i32;
        let before = time_of(own);
        let until = Instant::now() + Duration::from_secs(5);
        while time_of(own) == before {
            assert!(Instant::now() < until);
        }
    }
}
