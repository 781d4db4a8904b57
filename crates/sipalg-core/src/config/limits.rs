//! Bounds on what peers can make the gateway hold and do, in all and for each inside host.

/// Bounds on messages, and on everything that is counted by host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Start line and headers of a message, bytes. What is longer passes unchanged.
    pub header_bytes: usize,
    /// Body that is looked into, bytes; a longer one passes unchanged.
    pub body_bytes: usize,
    /// `m=` lines mapped in one session description.
    pub media_lines: usize,
    /// Contact values mapped in one message, and mappings made for its other header fields.
    pub contacts: usize,
    /// What is counted by host, in the order of [`Resource::ALL`].
    pub bounds: [Bound; Resource::ALL.len()],
}

/// What an inside host can have too much of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Resource {
    /// TCP connections.
    Connection,
    /// TCP connections whose other leg is not connected yet.
    HalfOpen,
    /// Flows of datagrams.
    DatagramFlow,
    /// Bytes of memory for messages that are not whole, and for what a leg does not take.
    Memory,
    /// Dynamic mappings.
    Mapping,
    /// Open doors.
    Door,
    /// Calls and subscriptions.
    Call,
    /// Registrations, and those under way.
    Registration,
    /// Messages each second.
    Message,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 9] = [
        Resource::Connection,
        Resource::HalfOpen,
        Resource::DatagramFlow,
        Resource::Memory,
        Resource::Mapping,
        Resource::Door,
        Resource::Call,
        Resource::Registration,
        Resource::Message,
    ];

    /// Its keyword in `ip nat service sip limit`.
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Connection => "connections",
            Resource::HalfOpen => "half-open",
            Resource::DatagramFlow => "datagram-flows",
            Resource::Memory => "memory",
            Resource::Mapping => "mappings",
            Resource::Door => "doors",
            Resource::Call => "calls",
            Resource::Registration => "registrations",
            Resource::Message => "messages",
        }
    }
}

/// How much there may be of a [`Resource`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// In all.
    pub all: u64,
    /// Of one inside host; `None`: a quarter.
    pub host: Option<u64>,
    /// Of one that is trusted ([`Config::trusted`](super::Config::trusted)); `None`: three quarters.
    pub trusted: Option<u64>,
}

/// The ports of one inside global address: what hosts that share one have a share of, whatever there
/// may be in all.
const PORTS_OF_AN_ADDRESS: u64 = 65_536 - 1024;

impl Limits {
    /// How much there may be of something.
    pub const fn bound(&self, of: Resource) -> Bound {
        self.bounds[of as usize]
    }

    /// Sets how much there may be of something.
    pub const fn set(&mut self, of: Resource, bound: Bound) {
        self.bounds[of as usize] = bound;
    }

    /// The same with so much of something, for one host as in all.
    #[must_use]
    pub const fn with(mut self, of: Resource, most: u64) -> Self {
        let bound = Bound {
            all: most,
            host: Some(most),
            trusted: Some(most),
        };
        self.set(of, bound);
        self
    }

    /// How much one host may have.
    pub fn share(&self, of: Resource, trusted: bool) -> u64 {
        let Bound { all, host, .. } = self.bound(of);
        let whole = match of {
            Resource::Mapping | Resource::Door => all.min(PORTS_OF_AN_ADDRESS),
            _ => all,
        };
        let share = match trusted {
            true => self.bound(of).trusted.unwrap_or(whole - whole / 4),
            false => host.unwrap_or(whole / 4),
        };
        share.clamp(1, all.max(1))
    }
}

impl Default for Limits {
    fn default() -> Self {
        let bounds = Resource::ALL.map(|of| Bound {
            all: match of {
                Resource::Connection | Resource::DatagramFlow => 65_536,
                Resource::HalfOpen => 4096,
                Resource::Memory => 256 << 20,
                Resource::Mapping | Resource::Door => 262_144,
                Resource::Call | Resource::Registration => 65_536,
                // A quarter is what one connection can bring on a fast machine.
                Resource::Message => 8_000_000,
            },
            host: None,
            trusted: None,
        });
        Limits {
            header_bytes: 64 * 1024,
            body_bytes: 1024 * 1024,
            media_lines: 16,
            contacts: 16,
            bounds,
        }
    }
}
