//! Messages that somebody made to be dear: their cost must grow no faster than their length.

use crate::gateway::Gateway;
use crate::instructions::{collected, measured};
use crate::subjects::Work;
use sipalg_core::Leg;

/// A piece that fills a message, and where.
struct Shape {
    name: &'static str,
    /// Before the filling, in the header section.
    head: &'static str,
    /// Repeated.
    piece: &'static str,
    /// Whether the filling is the body.
    body: bool,
}

const START: &str = "INVITE sip:service@10.1.1.2:5060 SIP/2.0\r\nCall-ID: 1@192.168.122.3\r\n\
    CSeq: 1 INVITE\r\n";

const SHAPES: &[Shape] = &[
    header(
        "many Via values",
        "Via: SIP/2.0/TCP 192.168.122.3:5060",
        ", SIP/2.0/TCP 192.168.122.3:5060",
    ),
    header(
        "many Via fields",
        "X: y",
        "\r\nVia: SIP/2.0/TCP 192.168.122.3:5060;branch=1",
    ),
    header(
        "many parameters",
        "Via: SIP/2.0/TCP 192.168.122.3:5060",
        ";rport;x=1",
    ),
    header(
        "many contacts",
        "Contact: <sip:a@192.168.122.3>",
        ", <sip:a@192.168.122.3>",
    ),
    header("quotes without end", "Contact: \"", "\\\\<,;"),
    header(
        "brackets without end",
        "Contact: <sip:a@192.168.122.3>",
        "<,",
    ),
    header(
        "folded lines",
        "Contact: <sip:a@192.168.122.3>",
        "\r\n ;x=1",
    ),
    header("short lines", "a:b", "\r\nl"),
    body(
        "many media lines",
        "v=0\r\nc=IN IP4 192.168.122.3\r\n",
        "m=audio 10000 RTP/AVP 0\r\n",
    ),
    body(
        "many candidates",
        "v=0\r\nc=IN IP4 192.168.122.3\r\nm=audio 10000 RTP/AVP 0\r\n",
        "a=candidate:1 1 UDP 1 192.168.122.3 10000 typ host\r\n",
    ),
    body("white space", "v=0\r\nc=IN IP4 ", " "),
    body(
        "boundaries",
        "--b\r\n",
        "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n",
    ),
];

const fn header(name: &'static str, head: &'static str, piece: &'static str) -> Shape {
    Shape {
        name,
        head,
        piece,
        body: false,
    }
}

const fn body(name: &'static str, head: &'static str, piece: &'static str) -> Shape {
    Shape {
        name,
        head,
        piece,
        body: true,
    }
}

impl Shape {
    /// A message of about that length.
    fn message(&self, length: usize) -> Vec<u8> {
        let filled = self.head.to_string() + &self.piece.repeat(length / self.piece.len());
        let (header, body) = if self.body {
            ("", filled.as_str())
        } else {
            (filled.as_str(), "")
        };
        let kind = if self.head.starts_with("--") {
            "multipart/mixed;boundary=b"
        } else {
            "application/sdp"
        };
        let lines = if header.is_empty() { "" } else { "\r\n" };
        let length = body.len();
        format!(
            "{START}{header}{lines}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Lengths of messages: headers may have 64 KiB, bodies 1 MiB.
const LENGTHS: [[usize; 2]; 2] = [[15_000, 60_000], [250_000, 1_000_000]];

/// In bytes.
const DRIBBLE: usize = 64;

/// Four times the length may cost this much more by the byte: the same, and what tables grow by.
const MOST: f64 = 1.5;

/// Counts the instructions of each shape in two lengths, whole and dribbled in pieces of 64 bytes.
///
/// # Errors
/// The shapes whose cost grows faster than their length, or why nothing could be counted.
pub fn run() -> Result<(), String> {
    let mut wrong = Vec::new();
    println!("{:24} instructions a byte, whole and dribbled", "");
    for shape in SHAPES {
        let lengths = LENGTHS[usize::from(shape.body)];
        print!("{:24}", shape.name);
        for part in [usize::MAX, DRIBBLE] {
            let cost = |length: usize| {
                let arguments = ["shape", shape.name, &length.to_string(), &part.to_string()];
                let count = collected(&arguments)? as f64;
                Ok::<_, String>(count / shape.message(length).len() as f64)
            };
            let [short, long] = [cost(lengths[0])?, cost(lengths[1])?];
            print!("   {short:7.1} -> {long:7.1}");
            if long > short * MOST {
                wrong.push(shape.name);
            }
        }
        println!();
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "cost more by the byte when they are longer: {}",
        wrong.join(", ")
    ))
}

/// Passes a shape of that length in parts, to be counted.
///
/// # Errors
/// There is no such shape.
pub fn work(name: &str, length: usize, part: usize) -> Result<(), String> {
    let shape = SHAPES.iter().find(|shape| shape.name == name);
    let message = shape
        .ok_or_else(|| format!("no shape is named `{name}`"))?
        .message(length);
    let mut gateway = Gateway::default();
    let mut pass: Work = Box::new(move |_| {
        for part in message.chunks(part) {
            gateway.pass(Leg::Inside, part);
        }
    });
    measured(&mut pass, 1);
    Ok(())
}
