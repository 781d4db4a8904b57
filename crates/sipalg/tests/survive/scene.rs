//! Connections through a gateway, the death of its worker, and what both ends must hear.

use crate::gateway::{Gateway, PATIENCE, accepted};
use crate::running::Running;
use nix::sys::signal::{Signal, kill};
use sipalg::keeper::layout::Header;
use sipalg::keeper::region::Step;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The inside host's own address.
pub(crate) const PHONE: &str = "192.168.122.2";
/// Its inside global address.
pub(crate) const GLOBAL: &str = "10.1.1.1";

/// A connection through the gateway.
pub(crate) struct Line {
    pub(crate) phone: TcpStream,
    pub(crate) outside: TcpStream,
    /// The phone's port, inside and outside.
    pub(crate) port: u16,
}

impl Line {
    /// One from this port of the phone.
    pub(crate) fn open(gateway: &Gateway, server: &TcpListener, port: u16) -> Self {
        let to = gateway.outside.at(5060);
        let phone = gateway.phone.connect(port, to).unwrap();
        let (outside, peer, _) = accepted(server);
        assert_eq!(peer.port(), port);
        for stream in [&phone, &outside] {
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE * 4)).unwrap();
            stream.set_write_timeout(Some(PATIENCE * 4)).unwrap();
        }
        Line {
            phone,
            outside,
            port,
        }
    }

    /// The `number`th message of the phone: as it says it, and as it is heard outside.
    pub(crate) fn outward(port: u16, number: usize) -> (String, String) {
        let message = |host: &str| {
            format!(
                "OPTIONS sip:office@10.1.1.2 SIP/2.0\r\n\
                 Via: SIP/2.0/TCP {host}:{port};branch=z9hG4bK{number}\r\n\
                 Contact: <sip:phone@{host}:{port}>\r\nCall-ID: out-{port}-{number}\r\n\
                 X-Fill: {}\r\nContent-Length: 0\r\n\r\n",
                "o".repeat(number % 700)
            )
        };
        (message(PHONE), message(GLOBAL))
    }

    /// The `number`th message of the outside host: as it says it, and as the phone hears it.
    pub(crate) fn inward(port: u16, number: usize) -> (String, String) {
        let message = |host: &str| {
            format!(
                "OPTIONS sip:phone@{host}:{port} SIP/2.0\r\n\
                 Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bK{number}\r\n\
                 Call-ID: in-{port}-{number}\r\nX-Fill: {}\r\nContent-Length: 0\r\n\r\n",
                "i".repeat(number % 900)
            )
        };
        (message(GLOBAL), message(PHONE))
    }

    /// Each says a message, and hears the other's.
    pub(crate) fn works(&mut self, number: usize) {
        let (said, expected) = Self::outward(self.port, number);
        says(&mut self.phone, said.as_bytes());
        hears(&mut self.outside, expected.as_bytes());
        let (said, expected) = Self::inward(self.port, number);
        says(&mut self.outside, said.as_bytes());
        hears(&mut self.phone, expected.as_bytes());
    }
}

pub(crate) fn says(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}

/// The next bytes are these.
pub(crate) fn hears(stream: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    let mut length = 0;
    while length < heard.len() {
        match stream.read(&mut heard[length..]) {
            Ok(0) => panic!("the connection ended instead of: {}", text(expected)),
            Ok(more) => length += more,
            Err(error) => panic!(
                "{error} after {length} of {} bytes: {}",
                expected.len(),
                text(&heard[..length])
            ),
        }
    }
    assert!(
        heard == expected,
        "heard:\n{}\ninstead of:\n{}",
        text(&heard),
        text(expected)
    );
}

/// Nothing more comes, by FIN.
pub(crate) fn has_ended(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

/// The connection was reset.
pub(crate) fn is_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0; 4096]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned()
}

impl Running {
    /// `kill -9` of the worker. Gives how long nobody served, when somebody does again.
    pub(crate) fn worker_dies(&mut self) -> Duration {
        kill(self.worker(), Signal::SIGKILL).unwrap();
        self.service_is_back()
    }

    /// Waits until another worker serves. Gives how long nobody did.
    pub(crate) fn service_is_back(&mut self) -> Duration {
        let (said, line) = self.wait_through("sipalg: service is back after ");
        assert!(!said.contains("cannot go on"), "{said}");
        let millis: Option<f64> = line.split(' ').nth(5).and_then(|word| word.parse().ok());
        Duration::from_secs_f64(millis.unwrap() / 1000.0)
    }

    /// Has the worker die at the `nth` such step from now on.
    pub(crate) fn die_at(&self, step: Step, nth: u64) {
        let told = (step as u64) << 32 | nth;
        let region = self.startup_config().with_file_name("console.region");
        let region = std::fs::File::options().write(true).open(region).unwrap();
        region
            .write_all_at(&told.to_ne_bytes(), Header::Die as u64)
            .unwrap();
    }
}
