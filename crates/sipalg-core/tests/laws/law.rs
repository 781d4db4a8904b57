//! The laws, as functions that say what breaks them.

use super::gateway::{Gateway, Output, Trial, bytes, small};
use super::messages::{Coverage, Dice, message, stream};
use super::skeleton;
use super::world::{at, sdp};
use sipalg_core::config::Resource;
use sipalg_core::{DoorOp, Event, Leg};
use std::collections::BTreeSet;
use std::time::Duration;

/// A law tried once on a machine under those rules, with that bug; the error says what went wrong.
pub type Law = fn(&mut Dice, Trial) -> Result<(), String>;

/// RFC 3261 section 18.3: TCP has no borders; how a stream is cut changes neither bytes nor doors nor
/// events.
pub fn any_cut(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let input = stream(dice);
    let whole = in_parts(trial, [input.as_slice()].into_iter());
    same(&in_parts(trial, input.chunks(1)), &whole)?;
    for _ in 0..6 {
        let (a, b) = (dice.roll(input.len()), dice.roll(input.len()));
        let (a, b) = (a.min(b), a.max(b));
        same(
            &in_parts(trial, [&input[..a], &input[a..b], &input[b..]].into_iter()),
            &whole,
        )?;
    }
    Ok(())
}

/// RFC 3261 section 16.6 (a proxy "MUST NOT" touch what it does not have to): all but literals of ours,
/// and the lengths that follow from them, is identical.
pub fn untouched(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let input = stream(dice);
    let sent = bytes(&in_parts(trial, [input.as_slice()].into_iter()));
    skeleton::same(&input, &sent)
}

/// RFC 4787 REQ-1 and RFC 3261 section 8.2.6.2: what was translated on the way out and comes back is
/// as it was, to the byte.
pub fn there_and_back(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let host = dice.pick(&[
        "192.168.122.3",
        "192.168.122.3:5060",
        "192.168.122.3:40001",
        "example.com",
        "8.8.8.8:5060",
    ]);
    let text = format!(
        "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP {host};branch=z9hG4bK1\r\nFrom: <sip:a@{host}>\r\n\
         Contact: <sip:a@{host};transport=tcp>\r\nRecord-Route: <sip:{host};lr>\r\ni: x\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n"
    );
    let mut gateway = Gateway::new(trial);
    let sent = String::from_utf8(bytes(&gateway.pass(Leg::Inside, text.as_bytes()))).expect("text");
    let answer =
        |text: &str| text.replacen("OPTIONS sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK", 1);
    let back = bytes(&gateway.pass(Leg::Outside, answer(&sent).as_bytes()));
    equal(&back, answer(&text).as_bytes())
}

/// RFC 3261 section 17.1.1.2: a message that is sent again goes out the same; and what is translated
/// is not translated again.
pub fn idempotent(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let input = message(dice, &mut Coverage::default());
    let mut gateway = Gateway::new(trial);
    let sent = bytes(&gateway.pass(Leg::Inside, input.as_bytes()));
    equal(&bytes(&gateway.pass(Leg::Inside, input.as_bytes())), &sent)?;
    equal(&bytes(&gateway.pass(Leg::Inside, &sent)), &sent)
}

/// RFC 3261 section 20.14: Content-Length counts the body that leaves.
pub fn true_length(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let input = message(dice, &mut Coverage::default());
    let sent = bytes(&Gateway::new(trial).pass(Leg::Inside, input.as_bytes()));
    let text = String::from_utf8_lossy(&sent);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no header section")?;
    let told = head.rsplit_once(": ").map(|(_, told)| told.to_string());
    if told == Some(body.len().to_string()) {
        return Ok(());
    }
    Err(format!("{told:?} counts {}", body.len()))
}

/// RFC 3261 section 18.3 and RFC 5626 section 3.5.1: who frames what left finds the same messages and
/// keep-alives.
pub fn same_framing(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let input = stream(dice);
    let sent = bytes(&in_parts(trial, [input.as_slice()].into_iter()));
    let (old, new) = (frames(&input)?, frames(&sent)?);
    if old == new {
        Ok(())
    } else {
        Err(format!("{old:?} became {new:?}"))
    }
}

/// The start line of each message, and an empty text for each keep-alive; told without the crate.
fn frames(stream: &[u8]) -> Result<Vec<String>, String> {
    let text = String::from_utf8_lossy(stream);
    let (mut rest, mut found) = (&*text, Vec::new());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\r\n") {
            found.push(String::new());
            rest = after;
            continue;
        }
        let (head, after) = rest
            .split_once("\r\n\r\n")
            .ok_or("no end of the header section")?;
        let start = head.split(' ').next().unwrap_or_default();
        if !matches!(start, "INVITE" | "UPDATE" | "SIP/2.0") {
            return Err(format!("no message begins like this: {head}"));
        }
        let length: usize = head
            .rsplit_once(": ")
            .and_then(|(_, l)| l.trim().parse().ok())
            .ok_or("no length")?;
        found.push(start.into());
        rest = after.get(length..).ok_or("the body is cut off")?;
    }
    Ok(found)
}

/// RFC 2663 section 4: in no field of the table does the outside see an inside local.
pub fn nothing_told(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let input = message(dice, &mut Coverage::default());
    let sent = bytes(&Gateway::new(trial).pass(Leg::Inside, input.as_bytes()));
    let text = String::from_utf8_lossy(&sent).into_owned();
    // Free text, embedded headers, Call-IDs and fields without a row keep what they say.
    let kept = [
        "sip:1@192.168.122.3",
        "X-Unknown: 192.168.122.3",
        "%40192.168.122.3",
        "x 192.168.122.3\"",
    ];
    let text = kept.iter().fold(text, |text, kept| text.replace(kept, ""));
    match text.lines().find(|line| line.contains("192.168.")) {
        Some(line) => Err(format!("told the outside: {line}")),
        None => Ok(()),
    }
}

/// Nothing leaks: every door closes, and when all is over nothing is kept.
pub fn nothing_left(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let mut gateway = Gateway::new(trial);
    let mut open = BTreeSet::new();
    for _ in 0..1 + dice.roll(8) {
        let text = message(dice, &mut Coverage::default());
        let from = if dice.roll(4) == 0 {
            Leg::Outside
        } else {
            Leg::Inside
        };
        let outputs = gateway.pass(from, text.as_bytes());
        doors(&outputs, &mut open)?;
        gateway.wait(Duration::from_secs(dice.roll(40) as u64));
    }
    let outputs = gateway.close();
    doors(&outputs, &mut open)?;
    match (open.is_empty(), gateway.sizes(), gateway.addresses()) {
        (true, [0, 0, 0, 0, 0], 0) => Ok(()),
        (_, sizes, addresses) => Err(format!("left: {open:?} {sizes:?} {addresses}")),
    }
}

/// Does what the kernel would do.
fn doors(outputs: &[Output], open: &mut BTreeSet<String>) -> Result<(), String> {
    for output in outputs {
        let Output::Door(op) = output else { continue };
        let name = format!("{:?} {}", op.door().protocol, op.door().inside_global);
        let known = match op {
            DoorOp::Open(_) => !open.insert(name),
            DoorOp::Refresh(_) => open.contains(&name),
            DoorOp::Close(_) => open.remove(&name),
        };
        if known == matches!(op, DoorOp::Open(_)) {
            return Err(format!("{op:?} with {open:?}"));
        }
    }
    Ok(())
}

/// RFC 3264 section 5.1: media may come as soon as the offer left; so its door is there before.
pub fn doors_first(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let port = 6000 + 2 * dice.roll(100) as u16;
    let body = sdp("192.168.122.3", port);
    let text = format!(
        "INVITE sip:b@example.com SIP/2.0\r\ni: c\r\nCSeq: 1 INVITE\r\nm: <sip:a@192.168.122.3:{port}>\r\n\
         c: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    );
    let mut open = BTreeSet::new();
    for output in Gateway::new(trial).pass(Leg::Inside, text.as_bytes()) {
        match output {
            Output::Door(DoorOp::Open(door)) => {
                open.insert(door.inside_global);
            }
            Output::Door(_) | Output::Event(_) => {}
            Output::Bytes(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let port = text
                    .split("m=audio ")
                    .nth(1)
                    .and_then(|rest| rest.split(' ').next())
                    .ok_or("no media")?;
                let contact = text
                    .split("<sip:a@")
                    .nth(1)
                    .and_then(|rest| rest.split('>').next())
                    .ok_or("no contact")?;
                for global in [at(&format!("10.1.1.1:{port}")), at(contact)] {
                    if !open.contains(&global) {
                        return Err(format!("{global} was told before it was open"));
                    }
                }
            }
        }
    }
    Ok(())
}

/// RFC 4787 section 12 (a NAT is to withstand exhaustion): no peer makes it keep more than the limits.
pub fn bounded(dice: &mut Dice, trial: Trial) -> Result<(), String> {
    let limits = small();
    let mut gateway = Gateway::with_limits(trial, limits);
    for round in 0..20 {
        let kind = dice.pick(&["INVITE", "REGISTER", "SUBSCRIBE"]);
        let mut media = sdp("192.168.122.3", 6000 + 40 * round);
        for line in 1..6 {
            media += &format!("m=video {} RTP/AVP 31\r\n", 6000 + 40 * round + 2 * line);
        }
        let contacts: Vec<_> = (0..4)
            .map(|n| format!("<sip:a@192.168.122.3:{}>", 7000 + 4 * round + n))
            .collect();
        let text = format!(
            "{kind} sip:b@example.com SIP/2.0\r\nTo: <sip:a@b>\r\nFrom: <sip:b@192.168.122.3 : 50{}>\r\ni: c{round}\r\nCSeq: 1 {kind}\r\nm: {}\r\nc: application/sdp\r\nl: {}\r\n\r\n{media}",
            10 + round,
            contacts.join(","),
            media.len()
        );
        let sent =
            String::from_utf8(bytes(&gateway.pass(Leg::Inside, text.as_bytes()))).expect("text");
        let contact = sent
            .split("m: ")
            .nth(1)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        let answer = format!(
            "SIP/2.0 200 OK\r\ni: c{round}\r\nCSeq: 1 {kind}\r\nExpires: 600\r\nm: {contact}\r\nl: 0\r\n\r\n"
        );
        gateway.pass(Leg::Outside, answer.as_bytes());
        let most = [
            Resource::Mapping,
            Resource::Door,
            Resource::Call,
            Resource::Registration,
            Resource::Call,
        ];
        let most = most.map(|of| limits.bound(of).all as usize);
        let sizes = gateway.sizes();
        if sizes.iter().zip(most).any(|(size, most)| *size > most) {
            return Err(format!("{sizes:?} over {most:?}"));
        }
    }
    Ok(())
}

/// All that comes out, but for what tells of the cutting itself.
fn in_parts<'a>(trial: Trial, parts: impl Iterator<Item = &'a [u8]>) -> Vec<Output> {
    let mut gateway = Gateway::new(trial);
    let mut outputs: Vec<_> = parts
        .flat_map(|part| gateway.pass(Leg::Inside, part))
        .collect();
    outputs.extend(gateway.end(Leg::Inside));
    outputs.retain(|output| {
        !matches!(
            output,
            Output::Event(
                Event::AlgNeeded
                    | Event::Received { .. }
                    | Event::HeaderComplete { .. }
                    | Event::FramerState { .. }
                    | Event::MessagesReceived(_)
            )
        )
    });
    outputs
}

/// Equal in bytes, in doors and in events, each in their order.
fn same(found: &[Output], expected: &[Output]) -> Result<(), String> {
    equal(&bytes(found), &bytes(expected))?;
    let others = |outputs: &[Output]| -> Vec<Vec<Output>> {
        let of = |door: bool| {
            outputs.iter().filter(move |o| match o {
                Output::Door(_) => door,
                Output::Event(_) => !door,
                Output::Bytes(_) => false,
            })
        };
        vec![of(true).cloned().collect(), of(false).cloned().collect()]
    };
    if others(found) == others(expected) {
        Ok(())
    } else {
        Err("doors or events differ".into())
    }
}

fn equal(found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!(
        "{}\n--- is not ---\n{}",
        text(found),
        text(expected)
    ))
}
