//! Every message of the corpora through framer and translator: nothing panics, nothing that is not
//! ours changes, and any cut gives the same.
#![allow(clippy::unwrap_used)]

mod samples;
mod script;
mod skeleton;
mod world;

use samples::Sample;
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::config::{AccessEntry, AccessList, SourceRule, is_of_a_host};
use sipalg_core::counters::Counters;
use sipalg_core::{Alg, Config, DoorOp, Instant, Leg, Outbox};
use std::collections::{BTreeMap, BTreeSet};

/// A rule that translates the inside hosts that match, to `global`.
fn config(address: Ipv4Addr, wildcard: Ipv4Addr, global: Ipv4Addr) -> Config {
    let entry = AccessEntry::standard(true, address, wildcard);
    let list = AccessList {
        name: "1".into(),
        entries: vec![entry],
    };
    Config {
        sources: vec![SourceRule::overload(list, global)],
        ..Config::default()
    }
}

/// What came of a sample.
struct Outcome {
    bytes: Vec<u8>,
    doors: Vec<DoorOp>,
    counters: Counters,
}

/// Feeds a sample on leg `from` of a connection of `host`, in pieces of at most `cut` bytes.
fn feed(config: &Config, host: Ipv4Addr, from: Leg, bytes: &[u8], cut: usize) -> Outcome {
    let mut alg = Alg::new(config.clone(), 1);
    let now = Instant::from_micros(1);
    let server = SocketAddrV4::new(Ipv4Addr::new(100, 127, 1, 1), 5060);
    let opened = alg
        .open(
            now,
            SocketAddrV4::new(host, 40001),
            server,
            &mut Outbox::default(),
        )
        .unwrap();
    let mut out = Outbox::default();
    for part in bytes.chunks(cut.max(1)) {
        alg.stream(now, opened.flow, from, part, &mut out);
    }
    alg.end_of_stream(now, opened.flow, from, &mut out);
    Outcome {
        bytes: out.bytes,
        doors: out.doors,
        counters: alg.counters(),
    }
}

/// The same as one datagram.
fn feed_datagram(config: &Config, host: Ipv4Addr, from: Leg, bytes: &[u8]) -> Outcome {
    let mut alg = Alg::new(config.clone(), 1);
    let now = Instant::from_micros(1);
    let server = SocketAddrV4::new(Ipv4Addr::new(100, 127, 1, 1), 5060);
    let phone = SocketAddrV4::new(host, 5060);
    let mut out = Outbox::default();
    // No datagram has such a source, and no door leads there.
    if !is_of_a_host(host) {
        return feed(config, host, from, bytes, bytes.len());
    }
    let opened = alg.open_datagrams(now, phone, server, &mut out).unwrap();
    // The door for the answers is the flow's, not the message's.
    out.clear();
    alg.datagram(now, opened.flow, from, bytes, &mut out);
    Outcome {
        bytes: out.bytes,
        doors: out.doors,
        counters: alg.counters(),
    }
}

/// Runs `judge` over all samples on two threads, and collects what it says.
fn over<T: Send>(samples: &[Sample], judge: impl Fn(usize, &Sample) -> T + Sync) -> Vec<T> {
    let every_second = |first: usize| {
        let own = samples.iter().enumerate().skip(first).step_by(2);
        own.map(|(nth, sample)| (nth, judge(nth, sample)))
            .collect::<Vec<_>>()
    };
    let mut results = std::thread::scope(|scope| {
        let other = scope.spawn(|| every_second(1));
        let mut results = every_second(0);
        results.extend(other.join().unwrap());
        results
    });
    results.sort_by_key(|(nth, _)| *nth);
    results.into_iter().map(|(_, result)| result).collect()
}

/// One byte at a time. The PROTOS cases are thousands of the same message with one field changed:
/// one in sixteen of the shorter ones goes by bytes, the others in some dozens of pieces.
fn fine_cut(nth: usize, sample: &Sample) -> usize {
    let length = sample.bytes.len();
    match sample.source.starts_with("protos") {
        true if !nth.is_multiple_of(16) || length > 4096 => 1 + length / 32,
        _ => 1 + length / 8192,
    }
}

#[test]
fn where_nothing_is_ours_every_byte_passes_and_no_door_moves() {
    let samples = samples::all();
    // A host and its inside global that no message knows.
    let host = Ipv4Addr::new(100, 127, 254, 3);
    let config = config(host, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(100, 127, 253, 1));
    over(&samples, |_, sample| {
        for from in [Leg::Inside, Leg::Outside] {
            let streamed = feed(&config, host, from, &sample.bytes, usize::MAX);
            let datagram = feed_datagram(&config, host, from, &sample.bytes);
            for outcome in [streamed, datagram] {
                assert!(outcome.bytes == sample.bytes, "{} {from:?}", sample.name);
                assert_eq!(outcome.doors, [], "{} {from:?}", sample.name);
                assert_eq!(outcome.counters.messages_changed, 0, "{}", sample.name);
            }
        }
    });
}

/// A line of the table.
#[derive(Default)]
struct Row {
    samples: usize,
    bytes: usize,
    messages: u64,
    /// That are messages as datagrams.
    datagrams: u64,
    changed_out: u64,
    changed_in: u64,
    demoted: u64,
    doors: u64,
}

#[test]
fn where_addresses_are_ours_only_they_change_and_any_cut_gives_the_same() {
    let samples = samples::all();
    let everyone = Ipv4Addr::new(255, 255, 255, 255);
    let rows = over(&samples, |nth, sample| {
        // The last address is usually that of the session description: the phone's going out. The
        // first is the gateway's coming in.
        let some = Ipv4Addr::new(192, 168, 122, 3);
        let last = skeleton::addresses(&sample.bytes)
            .next_back()
            .unwrap_or(some);
        let first = skeleton::addresses(&sample.bytes).next().unwrap_or(some);
        let mut row = Row {
            samples: 1,
            bytes: sample.bytes.len(),
            ..Row::default()
        };
        for from in [Leg::Inside, Leg::Outside] {
            let (host, global) = match from {
                Leg::Inside => (last, Ipv4Addr::new(100, 127, 253, 1)),
                Leg::Outside => (Ipv4Addr::new(100, 127, 254, 3), first),
            };
            let config = config(host, everyone, global);
            let whole = feed(&config, host, from, &sample.bytes, usize::MAX);
            skeleton::same(&sample.bytes, &whole.bytes)
                .unwrap_or_else(|line| panic!("{} {from:?}: {line}", sample.name));
            let datagram = feed_datagram(&config, host, from, &sample.bytes);
            skeleton::same(&sample.bytes, &datagram.bytes)
                .unwrap_or_else(|line| panic!("{} {from:?} datagram: {line}", sample.name));
            for bytes in [&whole.bytes, &datagram.bytes] {
                for change in skeleton::changes(&sample.bytes, bytes) {
                    let name = &sample.name;
                    assert!(change.is_of_a_host(), "{name} {from:?}: {change:?}");
                }
            }
            let again = feed_datagram(&config, host, from, &datagram.bytes);
            let read = (again.counters.messages, datagram.counters.messages);
            assert_eq!(read.0, read.1, "{} datagram", sample.name);
            row.datagrams = datagram.counters.messages;
            let cut = feed(&config, host, from, &sample.bytes, fine_cut(nth, sample));
            assert!(cut.bytes == whole.bytes, "{} {from:?} cut", sample.name);
            assert_eq!(cut.doors, whole.doors, "{} {from:?} cut", sample.name);
            let again = feed(&config, host, from, &whole.bytes, usize::MAX);
            assert_eq!(
                again.counters.messages, whole.counters.messages,
                "{}",
                sample.name
            );
            assert_eq!(
                again.counters.demoted, whole.counters.demoted,
                "{}",
                sample.name
            );
            match from {
                Leg::Inside => row.changed_out += whole.counters.messages_changed,
                Leg::Outside => row.changed_in += whole.counters.messages_changed,
            }
            row.doors += whole.counters.doors_opened;
            row.messages = whole.counters.messages;
            row.demoted = whole.counters.demoted;
        }
        row
    });
    let mut table: BTreeMap<&str, Row> = BTreeMap::new();
    for (sample, row) in samples.iter().zip(rows) {
        let sum = table.entry(&sample.source).or_default();
        sum.samples += row.samples;
        sum.bytes += row.bytes;
        sum.messages += row.messages;
        sum.datagrams += row.datagrams;
        sum.changed_out += row.changed_out;
        sum.changed_in += row.changed_in;
        sum.demoted += row.demoted;
        sum.doors += row.doors;
    }
    println!(
        "{:<24}{:>8}{:>10}{:>9}{:>10}{:>8}{:>8}{:>8}{:>8}",
        "source", "samples", "bytes", "messages", "datagrams", "out", "in", "demoted", "doors"
    );
    for (source, row) in &table {
        println!(
            "{source:<24}{:>8}{:>10}{:>9}{:>10}{:>8}{:>8}{:>8}{:>8}",
            row.samples,
            row.bytes,
            row.messages,
            row.datagrams,
            row.changed_out,
            row.changed_in,
            row.demoted,
            row.doors
        );
    }
    let changed: u64 = table.values().map(|row| row.changed_out).sum();
    let doors: u64 = table.values().map(|row| row.doors).sum();
    assert!(
        changed > 100 && doors > 100,
        "the fixup changed only {changed} messages and opened {doors} doors"
    );
}

/// RFC 4475 sections 3.1.2.2 and 3.1.2.3: a length that is negative, or more than there is. (Of the
/// golden cases: messages of that kind behind a good one.)
#[test]
fn messages_that_cannot_be_framed_pass_unchanged() {
    let samples = samples::all();
    let everyone = Ipv4Addr::new(255, 255, 255, 255);
    let unframed = samples.iter().filter(|sample| {
        let name = sample.name.rsplit('/').next().unwrap_or_default();
        matches!(
            name,
            "ncl.dat" | "clerr.dat" | "framing-length-negative 0" | "framing-length-overflow-32 0"
        )
    });
    let mut seen = 0;
    for sample in unframed {
        let bytes = &sample.bytes;
        let host = skeleton::addresses(bytes).next().unwrap();
        let config = config(host, everyone, Ipv4Addr::new(100, 127, 253, 1));
        let outcome = feed(&config, host, Leg::Inside, bytes, usize::MAX);
        let end = b"\r\n\r\n";
        let good = bytes.windows(4).position(|window| window == end);
        let good = good.filter(|_| sample.source == "golden");
        let doubtful = &bytes[good.map_or(0, |at| at + end.len())..];
        assert!(outcome.bytes.ends_with(doubtful), "{}", sample.name);
        assert_eq!(outcome.counters.messages, u64::from(good.is_some()));
        seen += 1;
    }
    let expected = if samples::corpus().is_some() { 4 } else { 2 };
    assert!(seen >= expected, "only {seen} such messages");
}

/// What came of the messages that a source marks invalid.
#[derive(Default)]
struct Marked {
    messages: usize,
    /// However its addresses are taken for ours.
    unchanged: usize,
    changed: usize,
    /// Of those, the fields that may change.
    fields: BTreeSet<String>,
}

/// The strongest that is true of a message that somebody marks invalid: it passes unchanged, but for
/// addresses of ours where a host stands in a field that can be read. (An ALG that left a call alone
/// because its Date is wrong would break what both ends put up with.)
#[test]
fn what_is_marked_invalid_passes_unchanged_but_for_our_hosts_where_a_field_can_be_read() {
    let samples = samples::all();
    let mut table: BTreeMap<&str, Marked> = BTreeMap::new();
    for sample in &samples {
        let Some(by) = sample.invalid_by() else {
            continue;
        };
        let changes: Vec<_> = changes_if_one_address_is_ours(sample);
        let row = table.entry(by).or_default();
        row.messages += 1;
        row.unchanged += usize::from(changes.is_empty());
        row.changed += usize::from(!changes.is_empty());
        row.fields.extend(changes);
    }
    println!(
        "{:<26}{:>9}{:>11}{:>9}",
        "marked invalid by", "messages", "unchanged", "changed"
    );
    for (by, row) in &table {
        println!(
            "{by:<26}{:>9}{:>11}{:>9}",
            row.messages, row.unchanged, row.changed
        );
        for field in &row.fields {
            println!("    {field}");
        }
    }
    let sum: usize = table.values().map(|row| row.messages).sum();
    let (sources, least) = samples::corpus().map_or((1, 15), |_| (6, 80));
    let enough = table.len() == sources && sum >= least;
    assert!(enough, "only {sum} messages are marked");
}

/// The fields of a sample that change if one of its addresses is ours, each in turn: as an inside host
/// on the way out, as an inside global on the way in.
fn changes_if_one_address_is_ours(sample: &Sample) -> Vec<String> {
    let other = Ipv4Addr::new(100, 127, 254, 3);
    let addresses: BTreeSet<_> = skeleton::addresses(&sample.bytes).collect();
    let mut fields = Vec::new();
    for ours in addresses {
        for (from, host, global) in [(Leg::Inside, ours, other), (Leg::Outside, other, ours)] {
            let config = config(host, Ipv4Addr::UNSPECIFIED, global);
            let outcome = feed(&config, host, from, &sample.bytes, usize::MAX);
            skeleton::same(&sample.bytes, &outcome.bytes)
                .unwrap_or_else(|line| panic!("{} {from:?}: {line}", sample.name));
            let changes = skeleton::changes(&sample.bytes, &outcome.bytes);
            assert_eq!(
                changes.is_empty(),
                outcome.bytes == sample.bytes,
                "{}",
                sample.name
            );
            for change in changes {
                let name = &sample.name;
                assert_eq!((change.old, change.new), (ours, other), "{name} {from:?}");
                assert!(change.is_of_a_host(), "{name} {from:?}: {change:?}");
                fields.push(change.field.trim_ascii_end().escape_ascii().to_string());
            }
        }
    }
    fields
}

#[test]
fn a_literal_where_no_host_stands_is_told_from_a_host() {
    let verdicts = |text: &str| -> Vec<bool> {
        let changed = text.replace("192.0.2.1", "10.1.1.1");
        let changes = skeleton::changes(text.as_bytes(), changed.as_bytes());
        changes.iter().map(skeleton::Change::is_of_a_host).collect()
    };
    for host in [
        "INVITE sip:a@192.0.2.1:5070;x SIP/2.0\r\n",
        "Via : SIP / 2.0 /\r\n UDP  192.0.2.1:5070\r\n",
        "v: SIP/2.0/TCP x;received=192.0.2.1;rport=7, SIP/2.0/TCP x;maddr=192.0.2.1\r\n",
        "To: \"192\" <sips:192.0.2.1?a=b>\r\n",
        "o=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1/127\r\n",
        "a=rtcp:7 IN IP4 192.0.2.1\r\na=candidate:1 1 UDP 1 192.0.2.1 7 typ host\r\n",
        "Warning: 399 192.0.2.1:5060 \"x\"\r\n",
    ] {
        assert!(verdicts(host).contains(&true), "{host}");
        assert!(!verdicts(host).contains(&false), "{host}");
    }
    for other in [
        "Call-ID: 1@192.0.2.1.example\r\nCall-ID: 192.0.2.1\r\nUser-Agent: Phone (192.0.2.1)\r\n",
        "Subject: 192.0.2.1\r\nTo: \"192.0.2.1\" <sip:a@example.com>\r\n",
        "Contact: <sip:192.0.2.1@example.com>;x=192.0.2.1\r\n",
        "Contact: <sip:example.com;maddr=192.0.2.1>\r\n",
        "Via: SIP/2.0/UDP x;branch=192.0.2.1\r\nWarning: 399 x \"192.0.2.1\"\r\n",
        "INVITE sip:a@b SIP/192.0.2.1\r\ns=192.0.2.1\r\ni=IN IP4 192.0.2.1\r\nm=x 192.0.2.1\r\n",
    ] {
        assert!(verdicts(other).contains(&false), "{other}");
        assert!(!verdicts(other).contains(&true), "{other}");
    }
}
