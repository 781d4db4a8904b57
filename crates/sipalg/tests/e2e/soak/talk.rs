//! What phones and their far ends say to each other, and how they check it.

use super::{Dice, Tally};
use crate::harness::net::{Host, inside_address, outside_address};
use crate::harness::sip::{Dialogue, Peer, answer, header, media_target, session, uri_target};
use socket2::SockRef;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// How long a phone waits for an answer before it tries again by another connection.
const ANSWER: Duration = Duration::from_secs(4);
/// How long anyone waits for a packet before it looks around.
const GLANCE: Duration = Duration::from_millis(100);
/// How long two talk until both must have been heard.
const TALK: Duration = Duration::from_secs(5);
/// How long it tries to end what it has begun.
const FAREWELL: Duration = Duration::from_secs(30);

/// An inside host that calls and registers.
#[derive(Debug)]
pub struct Phone<'a> {
    number: u8,
    host: &'a Host,
    far: &'a Host,
    tally: &'a Tally,
    dice: Dice,
    listener: TcpListener,
    calls: u32,
}

/// A connection that carries messages.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    ahead: Vec<u8>,
}

/// Where the far end of a phone is.
fn office(number: u8) -> SocketAddrV4 {
    // 5060 is taken by the calls of other tests' helpers; 8000 is a SIP port of the gateway, too.
    SocketAddrV4::new(outside_address(10 + number), 8000)
}

impl<'a> Phone<'a> {
    /// Phone `number` on its host.
    pub fn new(number: u8, host: &'a Host, far: &'a Host, tally: &'a Tally, seed: u64) -> Self {
        far.ip(&format!("addr add {}/24 dev eth0", office(number).ip()));
        let at = SocketAddrV4::new(inside_address(number), 5060);
        let listener = host.run(|| TcpListener::bind(at)).expect("to listen");
        listener.set_nonblocking(true).expect("not to block");
        Phone {
            number,
            host,
            far,
            tally,
            dice: Dice::new(seed, number.into()),
            listener,
            calls: 0,
        }
    }

    /// Calls and registers until it is over.
    pub fn live(mut self) {
        while !self.tally.is_over() {
            self.calls += 1;
            let done = match self.dice.throw(10) {
                0 => self.babble(),
                1 | 2 => self.register(),
                _ => self.call(),
            };
            if done.is_err() {
                Tally::one(&self.tally.interrupted);
            }
        }
    }

    fn dialogue(&self, kind: &str) -> Dialogue {
        let own = SocketAddrV4::new(inside_address(self.number), 5060);
        let name = format!("{kind}-{}-{}", self.number, self.calls);
        Dialogue::new(&name, own, office(self.number))
    }

    fn connect(&self) -> io::Result<Line> {
        let any = SocketAddrV4::new(inside_address(self.number), 0);
        let peer = Peer::connect_within(self.host, any, office(self.number), ANSWER)?;
        Line::new(peer.stream)
    }

    /// A call with media both ways, messages in random pieces, and one end or another.
    fn call(&mut self) -> io::Result<()> {
        let said = self.dialogue("call");
        let begun = self.begin_and_talk(&said);
        // What was begun is ended, however long that takes.
        let end = Instant::now() + FAREWELL;
        let mut ended = Err(ErrorKind::TimedOut.into());
        while ended.is_err() && Instant::now() < end {
            ended = self
                .connect()
                .and_then(|mut line| self.ask(&mut line, &said.request("BYE", 90, "")).map(drop));
        }
        if let Err(error) = &ended {
            self.tally
                .wrong(format!("{} could not be ended: {error}", said.call));
        }
        begun
    }

    fn begin_and_talk(&mut self, said: &Dialogue) -> io::Result<()> {
        let calls = self.calls;
        let media = |more: u16| 20_000 + 4 * (calls % 2000) as u16 + more;
        let near = self.ear(self.host, inside_address(self.number), media(0))?;
        let far = self.ear(self.far, *office(self.number).ip(), 0)?;
        let mut line = self.connect()?;
        let reply = self.invite(&mut line, said, 1, (&near, &far))?;
        Tally::one(&self.tally.calls);
        let mut heard = self.talk(said, (&near, &far), &reply);
        for number in 2..2 + self.dice.throw(6) as u32 {
            let text = payload(&said.call, number);
            let message = with_body(&said.request("MESSAGE", number, ""), "text/plain", &text);
            self.ask(&mut line, &message)?;
        }
        match self.dice.throw(6) {
            // The connection goes as if the phone had lost its power; the call does not.
            0 => {
                line.reset();
                line = self.connect()?;
                self.ask(&mut line, &said.request("INFO", 20, ""))?;
            }
            1 => {
                let near = self.ear(self.host, inside_address(self.number), media(2))?;
                let reply = self.invite(&mut line, said, 21, (&near, &far))?;
                heard &= self.talk(said, (&near, &far), &reply);
            }
            _ => {}
        }
        if heard {
            Tally::one(&self.tally.heard);
        }
        Ok(())
    }

    /// Offers an ear and gets the far end's, which is told whose it is.
    fn invite(
        &mut self,
        line: &mut Line,
        said: &Dialogue,
        number: u32,
        (near, far): (&UdpSocket, &UdpSocket),
    ) -> io::Result<String> {
        let offer = said.invite(number, at(near)?);
        let ear = format!("X-Ear: {}\r\nContent-Type", at(far)?);
        let offer = offer.replacen("Content-Type", &ear, 1);
        let reply = self.ask(line, &offer)?;
        let body = reply.split("\r\n\r\n").nth(1).unwrap_or_default();
        if body != session(at(far)?) {
            self.tally.wrong(format!("an answer to {offer}: {reply}"));
        }
        line.send(&checked(&said.request("ACK", number, "")), &mut self.dice)?;
        Ok(reply)
    }

    /// Sends a request and waits for the answer to it.
    fn ask(&mut self, line: &mut Line, request: &str) -> io::Result<String> {
        line.send(&checked(request), &mut self.dice)?;
        let reply = line.message(ANSWER)?;
        Tally::one(&self.tally.messages);
        let same = ["Via", "From", "Call-ID", "CSeq", "X-Check"];
        let request = checked(request);
        let differs = same
            .iter()
            .find(|name| header(&reply, name) != header(&request, name));
        if let Some(name) = differs {
            self.tally
                .wrong(format!("{name} of an answer to {request}: {reply}"));
        }
        Ok(reply)
    }

    /// Whether both hear each other, through the door.
    fn talk(&self, said: &Dialogue, (near, far): (&UdpSocket, &UdpSocket), reply: &str) -> bool {
        let door = header(reply, "X-Door").and_then(|door| door.parse().ok());
        let (Some(door), Ok(ear)) = (door, at(far)) else {
            self.tally.wrong(format!("no door in {reply}"));
            return false;
        };
        let text = said.call.as_bytes();
        let (mut out, mut back) = (false, false);
        let end = Instant::now() + TALK;
        while !(out && back) && Instant::now() < end {
            // An error is an ICMP answer to what was said while an interface was down.
            let _ = near.send_to(text, ear);
            let _ = far.send_to(text, door);
            out |= self.hears(far, text, door);
            back |= self.hears(near, text, ear);
        }
        out && back
    }

    fn hears(&self, ear: &UdpSocket, text: &[u8], from: SocketAddrV4) -> bool {
        let mut buffer = [0; 256];
        let Ok((length, source)) = ear.recv_from(&mut buffer) else {
            return false;
        };
        if &buffer[..length] != text {
            // The last packets of a call that had the ear's port before.
            return false;
        }
        if source != SocketAddr::V4(from) {
            if self.tally.may_lack_rules() {
                return false;
            }
            self.tally
                .wrong(format!("media of {from} came from {source}"));
        }
        true
    }

    /// Registers, is reached from outside, and takes it back.
    fn register(&mut self) -> io::Result<()> {
        let said = self.dialogue("reg");
        let begun = self.connect().and_then(|mut line| {
            let reply = self.ask(&mut line, &said.register(1, 600))?;
            Tally::one(&self.tally.registrations);
            self.be_reached(&reply)
        });
        let end = Instant::now() + FAREWELL;
        let mut ended = Err(ErrorKind::TimedOut.into());
        while ended.is_err() && Instant::now() < end {
            ended = self
                .connect()
                .and_then(|mut line| self.ask(&mut line, &said.register(9, 0)).map(drop));
        }
        if let Err(error) = &ended {
            self.tally
                .wrong(format!("{} could not be ended: {error}", said.call));
        }
        begun
    }

    fn be_reached(&mut self, reply: &str) -> io::Result<()> {
        let Some(global) = header(reply, "X-Door").and_then(|door| door.parse().ok()) else {
            self.tally.wrong(format!("no door in {reply}"));
            return Ok(());
        };
        let from = SocketAddrV4::new(*office(self.number).ip(), 0);
        let knock = Peer::connect_within(self.far, from, global, ANSWER)?;
        let mut there = Line::new(knock.stream)?;
        let end = Instant::now() + ANSWER;
        let mut here = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break Line::new(stream)?,
                Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(2)),
                Err(error) => return Err(error),
            }
        };
        let options = Dialogue::new(&format!("knock-{}", self.calls), from, global);
        let request = checked(&options.request("OPTIONS", 1, ""));
        there.send(&request, &mut self.dice)?;
        let got = here.message(ANSWER)?;
        if header(&got, "X-Check") != header(&request, "X-Check") {
            self.tally.wrong(format!("{request} came as {got}"));
        }
        Tally::one(&self.tally.knocks);
        Ok(())
    }

    /// Says what is no SIP, or half of what is, and hangs up rudely.
    fn babble(&mut self) -> io::Result<()> {
        let mut line = self.connect()?;
        let said = self.dialogue("half");
        let whole = match self.dice.throw(2) {
            0 => checked(&said.request("OPTIONS", 1, "")),
            _ => "\0\u{1}no SIP at all\r\n\r\n".repeat(50),
        };
        let cut = self.dice.throw(whole.len() as u64) as usize;
        line.stream.write_all(&whole.as_bytes()[..cut])?;
        line.reset();
        Ok(())
    }

    fn ear(&self, host: &Host, address: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
        let ear = host.run(|| UdpSocket::bind((address, port)))?;
        ear.set_read_timeout(Some(GLANCE))?;
        Ok(ear)
    }
}

/// Answers phone `number` until it is over, and checks what it hears.
pub fn serve(far: &Host, number: u8, tally: &Tally) {
    let listener = far
        .run(|| TcpListener::bind(office(number)))
        .expect("to listen");
    listener.set_nonblocking(true).expect("not to block");
    thread::scope(|scope| {
        while !tally.is_done() {
            match listener.accept() {
                Ok((stream, _)) => {
                    scope.spawn(move || serve_one(stream, number, tally));
                }
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    });
}

fn serve_one(stream: TcpStream, number: u8, tally: &Tally) {
    let Ok(mut line) = Line::new(stream) else {
        return;
    };
    let mut dice = Dice::new(7, number.into());
    while !tally.is_done() {
        let message = match line.message(GLANCE) {
            Ok(message) => message,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => return,
        };
        check(&message, tally);
        if message.starts_with("ACK") {
            continue;
        }
        if line.send(&reply_to(&message), &mut dice).is_err() {
            return;
        }
    }
}

/// What came through the gateway from inside is what was said there, but for the inside.
fn check(message: &str, tally: &Tally) {
    let wrong = |what: &str| tally.wrong(format!("{what}: {message}"));
    if message.contains("192.168.122.") {
        wrong("an inside address");
    }
    if header(message, "X-Check").map(String::from) != Some(checksum(message)) {
        wrong("a checksum");
    }
    let body = message.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let right = match header(message, "Content-Type") {
        Some("application/sdp") => body == session(media_target(body)),
        Some(_) => {
            body == payload(
                header(message, "Call-ID").unwrap_or_default(),
                sequence(message),
            )
        }
        None => body.is_empty(),
    };
    if !right {
        wrong("a body");
    }
}

fn reply_to(request: &str) -> String {
    let check = header(request, "X-Check").unwrap_or_default();
    let contact = header(request, "Contact").unwrap_or_default();
    let ear = header(request, "X-Ear").and_then(|ear| ear.parse().ok());
    let (door, extra) = match request.split(' ').next() {
        Some("INVITE") => (media_target(request), String::new()),
        Some("REGISTER") => match header(request, "Expires") {
            Some("0") => (uri_target(contact), String::new()),
            _ => (
                uri_target(contact),
                format!("Contact: {contact};expires=600\r\n"),
            ),
        },
        _ => (uri_target(contact), String::new()),
    };
    let extra = format!("X-Check: {check}\r\nX-Door: {door}\r\n{extra}");
    answer(
        request,
        "200 OK",
        &extra,
        &ear.map(session).unwrap_or_default(),
    )
}

impl Line {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER))?;
        let ahead = Vec::new();
        Ok(Line { stream, ahead })
    }

    /// Sends a message in pieces.
    fn send(&mut self, message: &str, dice: &mut Dice) -> io::Result<()> {
        let mut rest = message.as_bytes();
        for _ in 0..dice.throw(4) {
            let (piece, after) = rest.split_at(dice.throw(rest.len() as u64 + 1) as usize);
            self.stream.write_all(piece)?;
            rest = after;
            thread::yield_now();
        }
        self.stream.write_all(rest)
    }

    /// The next message, if it comes in time.
    fn message(&mut self, patience: Duration) -> io::Result<String> {
        let end = Instant::now() + patience;
        loop {
            if let Some(length) = whole(&self.ahead) {
                let message: Vec<u8> = self.ahead.drain(..length).collect();
                return String::from_utf8(message).map_err(|_| ErrorKind::InvalidData.into());
            }
            let left = end.saturating_duration_since(Instant::now());
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                length => self.ahead.extend_from_slice(&buffer[..length]),
            }
        }
    }

    /// Ends it with RST.
    fn reset(&self) {
        // Without it, it ends with FIN, which is fine, too.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// How long the first message is, if it is all there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let length = head + header(&text, "Content-Length")?.parse::<usize>().ok()?;
    (bytes.len() >= length).then_some(length)
}

/// A message with a checksum of what no gateway changes.
fn checked(message: &str) -> String {
    let check = format!("X-Check: {}\r\nMax-Forwards", checksum(message));
    message.replacen("Max-Forwards", &check, 1)
}

fn checksum(message: &str) -> String {
    let mut hasher = DefaultHasher::new();
    for name in ["Call-ID", "CSeq", "Content-Type", "X-Ear"] {
        header(message, name).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn with_body(message: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}");
    message.replacen("Content-Length: 0\r\n\r\n", &head, 1)
}

/// A body that only this message has.
fn payload(call: &str, number: u32) -> String {
    let mut hasher = DefaultHasher::new();
    (call, number).hash(&mut hasher);
    let mut dice = Dice(hasher.finish());
    let length = dice.throw(8000);
    let letter = |_| char::from(b' ' + dice.throw(95) as u8);
    (0..length).map(letter).collect()
}

fn sequence(message: &str) -> u32 {
    let number = header(message, "CSeq").and_then(|value| value.split(' ').next()?.parse().ok());
    number.unwrap_or(0)
}

fn at(ear: &UdpSocket) -> io::Result<SocketAddrV4> {
    match ear.local_addr()? {
        SocketAddr::V4(at) => Ok(at),
        SocketAddr::V6(_) => Err(ErrorKind::InvalidData.into()),
    }
}
