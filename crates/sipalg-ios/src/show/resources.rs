//! `show ip nat sip resources`: every table against its bound.

use super::{View, known};
use serde::Serialize;
use sipalg_core::alg::Usage;

/// `show ip nat sip resources`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Resources {
    resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Resource {
    name: &'static str,
    used: u64,
    peak: Option<u64>,
    limit: Option<u64>,
    refused: Option<u64>,
}

/// `show ip nat sip resources`.
pub fn resources(usage: &[Usage]) -> Resources {
    let row = |usage: &Usage| Resource {
        name: usage.name,
        used: usage.used,
        peak: usage.peak,
        limit: usage.limit,
        refused: usage.refused,
    };
    Resources {
        resources: usage.iter().map(row).collect(),
    }
}

impl View for Resources {
    fn text(&self) -> String {
        let mut text = line("Resource", ["Used", "Peak", "Limit", "Refused"]);
        for resource in &self.resources {
            let numbers = [
                Some(resource.used),
                resource.peak,
                resource.limit,
                resource.refused,
            ];
            let numbers = numbers.map(known);
            text += &line(resource.name, numbers.each_ref().map(String::as_str));
        }
        text
    }
}

fn line(name: &str, [used, peak, limit, refused]: [&str; 4]) -> String {
    format!("{name:<32} {used:>10} {peak:>10} {limit:>10} {refused:>10}\n")
}
