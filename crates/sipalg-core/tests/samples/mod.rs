//! SIP messages that nobody in this project wrote, from the corpus beside the repository (or where
//! `SIPALG_CORPUS` says); and those of the golden cases, which stand in without it.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part; helpers of tests may unwrap

use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes as they might come on one side of a connection.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The corpus folder that it is from.
    pub source: String,
    pub name: String,
    pub bytes: Vec<u8>,
}

/// RFC 4475 section 3.1.2, "Invalid Messages".
const INVALID_BY_RFC4475: &[&str] = &[
    "badinv01",
    "clerr",
    "ncl",
    "scalar02",
    "scalarlg",
    "quotbal",
    "ltgtruri",
    "lwsruri",
    "lwsstart",
    "trws",
    "escruri",
    "baddate",
    "regbadct",
    "badaspec",
    "baddn",
    "badvers",
    "mismatch01",
    "mismatch02",
    "bigcode",
];

impl Sample {
    /// Who says that it is invalid, if anyone does.
    pub fn invalid_by(&self) -> Option<&'static str> {
        let ours = [
            "malformed-",
            "framing-length-",
            "lines-without-colon",
            "sdp-broken-lines",
        ];
        if self.source == "golden" && ours.iter().any(|start| self.name.starts_with(start)) {
            return Some("golden");
        }
        let (folder, file) = self.name.rsplit_once('/')?;
        let stem = file.split('.').next()?;
        match folder {
            "ersip/rfc4475" if INVALID_BY_RFC4475.contains(&stem) => Some("RFC 4475 section 3.1.2"),
            "ersip/rfc5118" if stem == "ipv6-bad" => Some("RFC 5118 section 4.2"),
            "sipgo/torture/invalid" => Some("sipgo"),
            "kamailio" if stem.contains("bad") => Some("Kamailio"),
            "extracted-from-pcaps/invalid-content-length" => Some("Zeek"),
            _ => None,
        }
    }
}

/// Where the corpus is, if it is.
pub fn corpus() -> Option<PathBuf> {
    let root = std::env::var_os("SIPALG_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"),
        PathBuf::from,
    );
    root.is_dir().then_some(root)
}

/// Every sample: those of the golden cases, and those of the corpus if it is there. Says so.
pub fn all() -> Vec<Sample> {
    let mut samples = golden();
    match corpus() {
        Some(root) => {
            walk(&root, &root, &mut samples);
            println!("corpus: {}", root.display());
        }
        None => println!("corpus: none beside the repository; the golden cases stand in"),
    }
    assert!(samples.len() > 300, "only {} samples", samples.len());
    samples
}

fn walk(root: &Path, folder: &Path, samples: &mut Vec<Sample>) {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(root, &path, samples);
            continue;
        }
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let source = name.split('/').next().unwrap_or_default().to_string();
        let mut add = |name: String, bytes: Vec<u8>| {
            samples.push(Sample {
                source: source.clone(),
                name,
                bytes,
            });
        };
        let bytes = std::fs::read(&path).unwrap();
        let kind = path.extension().map(|kind| kind.to_string_lossy());
        match kind.as_deref() {
            Some("pcap" | "pcapng" | "md") => {} // captures are there as extracted payloads too
            Some("gz") => protos(&bytes, &mut add),
            Some("yaml") => flows(&name, &String::from_utf8_lossy(&bytes), &mut add),
            _ if bytes.starts_with(b"go test fuzz") => add(name, go_fuzz(&bytes)),
            _ if name.contains("/sdp/") => add(name, wrapped(&bytes)),
            _ => {
                if is_bare_lf(&bytes) {
                    add(format!("{name} in CRLF"), with_crlf(&bytes));
                }
                add(name, bytes);
            }
        }
    }
}

/// The PROTOS archive: each file is a number of messages as `<length> <bytes>`, with placeholders.
fn protos(archive: &[u8], add: &mut dyn FnMut(String, Vec<u8>)) {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        let mut nth = 0;
        while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
            let length = std::str::from_utf8(&rest[..space]).ok();
            let Some(length) = length.and_then(|text| text.trim().parse::<usize>().ok()) else {
                break;
            };
            let end = (space + 1 + length).min(rest.len());
            add(
                format!("protos {name} {nth}"),
                filled(&rest[space + 1..end]),
            );
            rest = &rest[end..];
            nth += 1;
        }
    }
}

/// A message of PROTOS with its placeholders filled in; the length last, when the body is known.
fn filled(message: &[u8]) -> Vec<u8> {
    let message = replaced(
        message,
        &[
            (b"<From-Address>", b"192.168.122.3"),
            (b"<From-IP>", b"192.168.122.3"),
            (b"<Local-Port>", b"5060"),
            (b"<From>", b"alice@192.168.122.3"),
            (b"<To>", b"bob@10.1.1.2"),
            (b"<Branch-ID>", b"1"),
            (b"<Call-ID>", b"protos"),
            (b"<CSeq>", b"1"),
            (b"<Teardown-Method>", b"CANCEL"),
        ],
    );
    let header = message.windows(4).position(|window| window == b"\r\n\r\n");
    let body = header.map_or(0, |at| message.len() - at - 4).to_string();
    replaced(&message, &[(b"<Content-Length>", body.as_bytes())])
}

fn replaced(text: &[u8], values: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(text.len() + 64);
    let mut rest = text;
    while let [first, ..] = rest {
        match values.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                filled.extend_from_slice(value);
                rest = &rest[name.len()..];
            }
            None => {
                filled.push(*first);
                rest = &rest[1..];
            }
        }
    }
    filled
}

/// Call flows: a list of literal blocks, `- |+` and lines indented by two blanks.
fn flows(name: &str, text: &str, add: &mut dyn FnMut(String, Vec<u8>)) {
    let mut message: Option<Vec<u8>> = None;
    let mut nth = 0;
    for line in text.lines().chain(["- |"]) {
        if line.starts_with("- |") {
            if let Some(bytes) = message.replace(Vec::new()) {
                add(format!("{name} {nth}"), bytes);
                nth += 1;
            }
        } else if let Some(message) = &mut message {
            message.extend_from_slice(line.strip_prefix("  ").unwrap_or(line).as_bytes());
            message.extend_from_slice(b"\r\n");
        }
    }
}

/// `string("...")` or `[]byte("...")` in the escapes of Go.
fn go_fuzz(text: &[u8]) -> Vec<u8> {
    let first = text.iter().position(|byte| *byte == b'"').unwrap() + 1;
    let last = text.iter().rposition(|byte| *byte == b'"').unwrap();
    let mut bytes = Vec::new();
    let mut rest = text[first..last].iter().copied();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' { rest.next() } else { None };
        bytes.push(match escaped {
            None => byte,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            Some(other) => other,
        });
    }
    bytes
}

/// A session description in a message that carries it.
fn wrapped(body: &[u8]) -> Vec<u8> {
    let mut message = format!(
        "INVITE sip:a@example.com SIP/2.0\r\nCall-ID: sdp\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(body);
    message
}

fn is_bare_lf(bytes: &[u8]) -> bool {
    bytes.contains(&b'\n') && !bytes.contains(&b'\r')
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for byte in bytes {
        if *byte == b'\n' {
            lines.push(b'\r');
        }
        lines.push(*byte);
    }
    lines
}

/// What goes in, in the golden cases.
fn golden() -> Vec<Sample> {
    let mut samples = Vec::new();
    for case in crate::script::cases("data") {
        let inputs = case.script().unwrap().inputs().into_iter().enumerate();
        samples.extend(inputs.map(|(nth, bytes)| Sample {
            source: "golden".into(),
            name: format!("{} {nth}", case.name),
            bytes,
        }));
    }
    samples
}
