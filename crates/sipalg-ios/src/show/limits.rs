//! `show ip nat sip limits`: how much there may be, is, and was, and which hosts have most of theirs.

use super::View;
use serde::Serialize;
use sipalg_core::addr::Ipv4Addr;
use sipalg_core::admission::{LimitView, ShareView};

/// `show ip nat sip limits`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Limits {
    limits: Vec<Limit>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Limit {
    name: &'static str,
    used: u64,
    peak: u64,
    limit: u64,
    host_limit: u64,
    trusted_host_limit: u64,
    refused: u64,
    nearest: Vec<Share>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Share {
    host: Ipv4Addr,
    used: u64,
    limit: u64,
    refused: u64,
}

/// `show ip nat sip limits`.
pub fn limits(views: &[LimitView]) -> Limits {
    let share = |share: &ShareView| Share {
        host: share.host,
        used: share.used,
        limit: share.limit,
        refused: share.refused,
    };
    let limit = |view: &LimitView| Limit {
        name: view.resource.name(),
        used: view.used,
        peak: view.peak,
        limit: view.limit,
        host_limit: view.host,
        trusted_host_limit: view.trusted,
        refused: view.refused,
        nearest: view.hosts.iter().map(share).collect(),
    };
    Limits {
        limits: views.iter().map(limit).collect(),
    }
}

impl View for Limits {
    fn text(&self) -> String {
        let mut text = line(
            "Limit",
            ["Used", "Peak", "All", "Host", "Trusted", "Refused"],
        );
        for limit in &self.limits {
            let numbers = [
                limit.used,
                limit.peak,
                limit.limit,
                limit.host_limit,
                limit.trusted_host_limit,
                limit.refused,
            ];
            let numbers = numbers.map(|number| number.to_string());
            text += &line(limit.name, numbers.each_ref().map(String::as_str));
            for share in &limit.nearest {
                let Share {
                    host,
                    used,
                    limit,
                    refused,
                } = share;
                let refused = match refused {
                    0 => String::new(),
                    refused => format!(", refused {refused} times"),
                };
                text += &format!("  {host} has {used} of {limit}{refused}\n");
            }
        }
        text
    }
}

fn line(name: &str, numbers: [&str; 6]) -> String {
    let mut line = format!("{name:<16}");
    for number in numbers {
        line += &format!(" {number:>10}");
    }
    line + "\n"
}
