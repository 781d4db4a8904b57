//! SIP messages as real phones and proxies write them, and TCP peers of our own.

use super::PATIENCE;
use super::capture::Packets;
use super::net::{GOUT, Host};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

/// One end of a TCP connection that carries SIP, or anything else.
#[derive(Debug)]
pub struct Peer {
    /// The connection, for what is not said here.
    pub stream: TcpStream,
    /// What has come and was not yet asked for.
    ahead: Vec<u8>,
}

/// Somebody who waits for connections.
#[derive(Debug)]
pub struct Server(TcpListener);

impl Server {
    /// Listens on a host.
    pub fn listen(host: &Host, at: SocketAddrV4) -> Self {
        // A program that another test starts holds our last socket for a moment, between fork and exec.
        let listener = super::until("the address to be free", || {
            match host.run(|| TcpListener::bind(at)) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => None,
                bound => {
                    Some(bound.unwrap_or_else(|error| panic!("cannot listen at {at}: {error}")))
                }
            }
        });
        listener.set_nonblocking(true).expect("not to block");
        Server(listener)
    }

    /// Its socket, for what is not said here.
    pub fn socket(&self) -> &TcpListener {
        &self.0
    }

    /// The next connection.
    ///
    /// # Panics
    /// Nobody came in time.
    pub fn accept(&self) -> Peer {
        super::until("a connection", || self.try_accept())
    }

    /// Whether nobody comes for a while. What does not come in that time would not come at all.
    pub fn is_left_alone(&self) -> bool {
        std::thread::sleep(Duration::from_millis(300));
        self.try_accept().is_none()
    }

    fn try_accept(&self) -> Option<Peer> {
        match self.0.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("to block");
                Some(Peer::new(stream))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("cannot accept: {error}"),
        }
    }
}

impl Peer {
    /// Connects from an address, port 0 for any, to another.
    ///
    /// # Errors
    /// The far side refused, or could not be reached in time.
    pub fn connect(host: &Host, from: SocketAddrV4, to: SocketAddrV4) -> io::Result<Self> {
        Peer::connect_within(host, from, to, PATIENCE)
    }

    /// The same with less patience.
    ///
    /// # Errors
    /// The far side refused, or could not be reached in time.
    pub fn connect_within(
        host: &Host,
        from: SocketAddrV4,
        to: SocketAddrV4,
        patience: Duration,
    ) -> io::Result<Self> {
        let socket = host.run(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::V4(from).into())?;
            Ok(socket)
        })?;
        socket.connect_timeout(&SocketAddr::V4(to).into(), patience)?;
        Ok(Peer::new(socket.into()))
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let ahead = Vec::new();
        Peer { stream, ahead }
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("to send");
    }

    /// Receives one SIP message.
    pub fn message(&mut self) -> String {
        loop {
            if let Some(length) = message_length(&self.ahead) {
                let message = self.ahead.drain(..length).collect();
                return String::from_utf8(message).expect("text");
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("end of stream after {}", show(&self.ahead)),
                Ok(length) => self.ahead.extend(&buffer[..length]),
                Err(error) => panic!("no message: {error}; so far {}", show(&self.ahead)),
            }
        }
    }

    /// Receives exactly that many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.ahead);
        let have = bytes.len().min(count);
        self.ahead = bytes.split_off(have);
        bytes.resize(count, 0);
        if let Err(error) = self.stream.read_exact(&mut bytes[have..]) {
            panic!("not {count} bytes: {error}");
        }
        bytes
    }

    /// Receives until the far side says that it has no more.
    ///
    /// # Errors
    /// The connection was reset.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.ahead);
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Says that there is no more, and goes on listening.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("to shut down");
    }

    /// Its own end, as it sees it.
    pub fn local(&self) -> SocketAddrV4 {
        v4(self.stream.local_addr())
    }

    /// The far end, as it sees it.
    pub fn remote(&self) -> SocketAddrV4 {
        v4(self.stream.peer_addr())
    }
}

fn v4(address: io::Result<SocketAddr>) -> SocketAddrV4 {
    match address.expect("an address") {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address} in an IPv4 network"),
    }
}

/// How long the message is that `bytes` begin with, once its headers are there and its body.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let body = header(&text, "content-length").or(header(&text, "l"));
    let length = head + body.map_or(0, |value| value.parse().expect("a length"));
    (bytes.len() >= length).then_some(length)
}

/// The whole messages that a stream consists of.
pub fn split_messages(mut stream: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(length) = message_length(stream).filter(|length| *length <= stream.len()) {
        messages.push(String::from_utf8_lossy(&stream[..length]).into_owned());
        stream = &stream[length..];
    }
    messages
}

/// The value of the first header of that name.
pub fn header<'text>(message: &'text str, name: &str) -> Option<&'text str> {
    let lines = message.split("\r\n").take_while(|line| !line.is_empty());
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let field = fields.find(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    field.map(|(_, value)| value.trim())
}

/// The address and port that a Contact, or any other header with one URI, leads to.
pub fn uri_target(value: &str) -> SocketAddrV4 {
    let host = value.split('@').nth(1).unwrap_or(value);
    let end = host.find([';', '>']).unwrap_or(host.len());
    let host = &host[..end];
    let host = match host.contains(':') {
        true => host.to_string(),
        false => format!("{host}:5060"),
    };
    host.parse()
        .unwrap_or_else(|_| panic!("no address in {value:?}"))
}

/// Where the first medium of a session description wants its RTP.
pub fn media_target(message: &str) -> SocketAddrV4 {
    let line = |start| message.lines().find_map(|line| line.strip_prefix(start));
    let address = line("c=IN IP4 ").expect("c=").trim();
    let port = line("m=audio ").expect("m=").split(' ').next();
    let port = port.and_then(|port| port.parse().ok()).expect("a port");
    SocketAddrV4::new(address.parse().expect("an address"), port)
}

/// How many messages the gateway sent out, by what crossed its outside interface.
///
/// The Call-IDs of all peers here are without addresses: the gateway leaves them as they are.
///
/// # Panics
/// Anything of it tells of the inside network.
pub fn messages_without_the_inside(packets: &Packets) -> usize {
    let inside = |text: &str| {
        // A name in RTCP, which the phone makes of an address that it had (RFC 5576 section 6.1).
        let lines = text.lines().filter(|line| !line.starts_with("a=ssrc:"));
        lines.filter(|line| line.contains("192.168.122.")).count() > 0
    };
    for packet in &packets.0 {
        let (from, to) = (packet.source(), packet.destination());
        for end in [from, to] {
            assert_ne!(end.ip().octets()[..3], [192, 168, 122], "{from} -> {to}");
        }
    }
    let streams = packets.streams();
    let ours = streams.iter().filter(|((from, _), _)| *from.ip() == GOUT);
    let counts = ours.map(|((from, to), stream)| {
        let text = String::from_utf8_lossy(stream);
        assert!(!inside(&text), "{from} -> {to}: {text}");
        split_messages(stream).len()
    });
    let datagrams =
        packets.filter(|packet| packet.is_sip_over_udp() && *packet.source().ip() == GOUT);
    for datagram in &datagrams {
        let text = String::from_utf8_lossy(datagram.payload());
        assert!(!inside(&text), "{text}");
    }
    counts.sum::<usize>() + datagrams.len()
}

/// Who sends a message, to whom, in which call.
///
/// Over TCP, unless it says [`over_udp`](Dialogue::over_udp).
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// Call-ID, which the branch and tags are made from.
    pub call: String,
    /// The sender's own address.
    pub from: SocketAddrV4,
    /// Whom it is for.
    pub to: SocketAddrV4,
    udp: bool,
}

impl Dialogue {
    /// A call between two addresses.
    pub fn new(call: &str, from: SocketAddrV4, to: SocketAddrV4) -> Self {
        let call = call.into();
        let udp = false;
        Dialogue {
            call,
            from,
            to,
            udp,
        }
    }

    /// The same, over UDP.
    pub fn over_udp(self) -> Self {
        Dialogue { udp: true, ..self }
    }

    /// A request without a body.
    pub fn request(&self, method: &str, number: u32, extra: &str) -> String {
        self.request_with(method, number, extra, "")
    }

    /// An INVITE that offers audio at a port.
    pub fn invite(&self, number: u32, media: SocketAddrV4) -> String {
        self.request_with("INVITE", number, "", &session(media))
    }

    /// An INVITE with a session description of the caller's words.
    pub fn invite_with(&self, number: u32, body: &str) -> String {
        self.request_with("INVITE", number, "", body)
    }

    fn request_with(&self, method: &str, number: u32, extra: &str, body: &str) -> String {
        let Dialogue {
            call,
            from,
            to,
            udp,
        } = self;
        let (over, parameter) = match udp {
            true => ("UDP", ""),
            false => ("TCP", ";transport=tcp"),
        };
        let kind = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        format!(
            "{method} sip:bob@{to}{parameter} SIP/2.0\r\n\
             Via: SIP/2.0/{over} {from};branch=z9hG4bK{call}{number}{method};rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Alice\" <sip:alice@{from}>;tag=a{call}\r\n\
             To: <sip:bob@{to}>\r\n\
             Call-ID: {call}\r\n\
             CSeq: {number} {method}\r\n\
             Contact: <sip:alice@{from}{parameter}>\r\n\
             {extra}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// A REGISTER of its own address for a number of seconds.
    pub fn register(&self, number: u32, expires: u32) -> String {
        self.request("REGISTER", number, &format!("Expires: {expires}\r\n"))
    }
}

/// The answer to a request, in the answerer's own words.
pub fn answer(request: &str, status: &str, extra: &str, body: &str) -> String {
    let copied = ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"];
    let copied = copied.iter().filter_map(|name| {
        let value = header(request, name)?;
        let tag = match *name == "To" && !value.contains("tag=") && !status.starts_with("100") {
            true => ";tag=b",
            false => "",
        };
        Some(format!("{name}: {value}{tag}\r\n"))
    });
    let copied: String = copied.collect();
    let kind = match body {
        "" => "",
        _ => "Content-Type: application/sdp\r\n",
    };
    format!(
        "SIP/2.0 {status}\r\n{copied}{extra}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A session description with audio at an address and port.
pub fn session(media: SocketAddrV4) -> String {
    let (address, port) = (media.ip(), media.port());
    format!(
        "v=0\r\no=- 3724394400 3724394401 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\n\
         t=0 0\r\nm=audio {port} RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    )
}

/// Bytes as a person can read them.
pub fn show(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}
