//! What the poll's tokens stand for.

use mio::Token;
use sipalg_core::Leg;

/// Who a report of the poll is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// A signal came.
    Signal,
    /// The TPROXY listener.
    Listener,
    /// Intercepted datagrams.
    Datagrams,
    /// The console's listener.
    Console,
    /// An interface or address of the host has changed.
    Addresses,
    /// Inside hosts without an address of their own speak.
    Newcomers,
    /// A client of the console, by its key.
    Client(usize),
    /// A leg of the connection with this key.
    Leg(usize, Leg),
}

impl From<Wake> for Token {
    fn from(wake: Wake) -> Token {
        Token(match wake {
            Wake::Leg(key, Leg::Inside) => key << 2,
            Wake::Leg(key, Leg::Outside) => key << 2 | 1,
            Wake::Client(key) => key << 2 | 2,
            Wake::Signal => 3,
            Wake::Listener => 1 << 2 | 3,
            Wake::Console => 2 << 2 | 3,
            Wake::Datagrams => 3 << 2 | 3,
            Wake::Addresses => 4 << 2 | 3,
            Wake::Newcomers => 5 << 2 | 3,
        })
    }
}

impl From<Token> for Wake {
    fn from(Token(token): Token) -> Wake {
        match (token & 3, token >> 2) {
            (0, key) => Wake::Leg(key, Leg::Inside),
            (1, key) => Wake::Leg(key, Leg::Outside),
            (2, key) => Wake::Client(key),
            (_, 0) => Wake::Signal,
            (_, 1) => Wake::Listener,
            (_, 2) => Wake::Console,
            (_, 3) => Wake::Datagrams,
            (_, 4) => Wake::Addresses,
            (_, _) => Wake::Newcomers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_leads_back_to_its_wake() {
        for wake in [
            Wake::Signal,
            Wake::Listener,
            Wake::Console,
            Wake::Datagrams,
            Wake::Addresses,
            Wake::Newcomers,
            Wake::Client(0),
            Wake::Client(70_000),
            Wake::Leg(0, Leg::Inside),
            Wake::Leg(0, Leg::Outside),
            Wake::Leg(1_000_000, Leg::Outside),
        ] {
            assert_eq!(Wake::from(Token::from(wake)), wake);
        }
    }
}
