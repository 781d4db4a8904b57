//! What goes wrong while they talk.

use super::{Dice, Tally, processes};
use crate::harness::gateway::Gateway;
use crate::harness::net::Net;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Makes trouble at random.
#[derive(Debug)]
pub struct Trouble<'a> {
    net: &'a Net,
    gateway: &'a Gateway<'a>,
    pid: i32,
    dice: Dice,
    made: BTreeMap<&'static str, u32>,
}

/// Lines of configuration that change something and hurt nobody, and what takes each back.
const CHANGES: [(&str, &str); 4] = [
    (
        "ip nat service sip tcp port 5070",
        "no ip nat service sip tcp port 5070",
    ),
    (
        "ip nat translation udp-timeout 200",
        "no ip nat translation udp-timeout",
    ),
    (
        "access-list 50 permit 10.1.1.0 0.0.0.255",
        "no access-list 50",
    ),
    (
        "ip nat inside source static 192.168.122.200 10.1.1.200",
        "no ip nat inside source static 192.168.122.200 10.1.1.200",
    ),
];

impl<'a> Trouble<'a> {
    /// For this gateway.
    pub fn new(net: &'a Net, gateway: &'a Gateway<'a>, pid: i32, seed: u64) -> Self {
        let made = BTreeMap::new();
        let dice = Dice::new(seed, 999);
        Trouble {
            net,
            gateway,
            pid,
            dice,
            made,
        }
    }

    /// One trouble after the other until it is over; how many of each kind.
    pub fn make(mut self, tally: &Tally) -> BTreeMap<&'static str, u32> {
        while !tally.is_over() {
            let kind = match self.dice.throw(7) {
                0 => {
                    tally.flush();
                    self.flush()
                }
                1 => self.forget_routes(),
                2 => self.unplug(),
                3 | 4 => self.lose(),
                5 => self.change(),
                _ => self.kill_worker(),
            };
            *self.made.entry(kind).or_default() += 1;
            // Time to get over it.
            let pause = Duration::from_millis(500 + self.dice.throw(3000));
            thread::sleep(pause);
        }
        self.made
    }

    fn flush(&mut self) -> &'static str {
        self.attempt("nft", &["flush", "ruleset"]);
        "rules flushed"
    }

    fn forget_routes(&mut self) -> &'static str {
        self.attempt("ip", &["rule", "del", "priority", "5060"]);
        self.attempt("ip", &["route", "flush", "table", "5060"]);
        "policy rule and route deleted"
    }

    fn unplug(&mut self) -> &'static str {
        let interface = ["gin", "gout"][self.dice.throw(2) as usize];
        self.attempt("ip", &["link", "set", interface, "down"]);
        thread::sleep(Duration::from_millis(self.dice.throw(400)));
        self.attempt("ip", &["link", "set", interface, "up"]);
        "interface down and up"
    }

    fn lose(&mut self) -> &'static str {
        let wire = [&self.net.lan, &self.net.wan][self.dice.throw(2) as usize];
        wire.lose();
        thread::sleep(Duration::from_millis(500 + self.dice.throw(2000)));
        wire.nft("delete table bridge loss");
        "loss of 5 %"
    }

    fn change(&mut self) -> &'static str {
        let (forth, back) = CHANGES[self.dice.throw(CHANGES.len() as u64) as usize];
        self.gateway.configure(forth);
        self.gateway.configure(back);
        "configuration changed twice"
    }

    /// Only where something replaces it.
    fn kill_worker(&mut self) -> &'static str {
        let workers = processes(self.pid).split_off(1);
        for worker in &workers {
            // It may just have ended.
            let _ = kill(Pid::from_raw(*worker), Signal::SIGKILL);
        }
        match workers.is_empty() {
            true => "no worker to kill",
            false => "worker killed",
        }
    }

    /// What may fail because something else is just going on.
    fn attempt(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).stderr(std::process::Stdio::null());
        let _ = self.net.gateway.spawn(&mut command).wait();
    }
}
