//! What others have put into nftables: their chains, rules and connection helpers, of IPv4 and of both
//! IP versions together.

use super::object::{NFTA_OBJ_DATA, NFTA_OBJ_NAME, NFTA_OBJ_TABLE, NFTA_OBJ_TYPE};
use super::*;

/// A chain that packets enter by themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseChain {
    /// The family of its table: `ip` or `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where packets enter it (`NF_INET_*`).
    pub hook: u32,
    /// Whether what no rule decides is dropped.
    pub drops: bool,
}

/// A rule as its expressions, each with its name and what it consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The family of its table: `ip` or `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// The expressions, in order.
    pub expressions: Vec<Expression>,
}

/// An expression of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expression {
    /// Its name, such as `cmp`.
    pub name: String,
    data: Vec<u8>,
}

/// What a rule decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The packet passes.
    Accept,
    /// The packet is dropped, or refused with an answer.
    Drop,
    /// Another chain goes on with it.
    Chain(String),
}

impl Expression {
    /// The verdict, if it is one.
    pub fn verdict(&self) -> Option<Verdict> {
        // The latter is iptables'.
        let refuses = self.name == "target" && self.text(NFTA_TARGET_NAME)? == "REJECT";
        if self.name == "reject" || refuses {
            return Some(Verdict::Drop);
        }
        if self.name != "immediate" {
            return None;
        }
        let data = attribute(&self.data, NFTA_IMMEDIATE_DATA)?;
        let verdict = attribute(data, NFTA_DATA_VERDICT)?;
        let code = attribute(verdict, NFTA_VERDICT_CODE)?.try_into().ok()?;
        match i32::from_be_bytes(code) {
            libc::NF_ACCEPT => Some(Verdict::Accept),
            libc::NF_DROP => Some(Verdict::Drop),
            NFT_JUMP | NFT_GOTO => {
                let chain = attribute(verdict, NFTA_VERDICT_CHAIN).map(text_of)?;
                Some(Verdict::Chain(chain))
            }
            _ => None,
        }
    }

    /// The 32-bit number in one of its parts.
    pub fn number(&self, part: u16) -> Option<u32> {
        let value = attribute(&self.data, part)?.try_into().ok()?;
        Some(u32::from_be_bytes(value))
    }

    /// The value in one of its parts that hold values.
    pub fn value(&self, part: u16) -> Option<&[u8]> {
        attribute(attribute(&self.data, part)?, NFTA_DATA_VALUE)
    }

    /// The text in one of its parts.
    pub fn text(&self, part: u16) -> Option<String> {
        attribute(&self.data, part).map(text_of)
    }

    /// One of its parts.
    pub fn bytes(&self, part: u16) -> Option<&[u8]> {
        attribute(&self.data, part)
    }

    /// Whether these bytes are anywhere in it, for targets of iptables.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.data.windows(bytes.len()).any(|part| part == bytes)
    }
}

impl Nft {
    /// The chains at which packets enter, of all tables.
    ///
    /// # Errors
    /// The kernel's.
    pub fn base_chains(&mut self) -> Result<Vec<BaseChain>, Error> {
        self.list_all(NFT_MSG_GETCHAIN, |family, told| {
            let hook = attribute(attribute(told, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM)?;
            let policy = attribute(told, NFTA_CHAIN_POLICY).and_then(|v| v.try_into().ok());
            Some(BaseChain {
                family,
                table: attribute(told, NFTA_CHAIN_TABLE).map(text_of)?,
                name: attribute(told, NFTA_CHAIN_NAME).map(text_of)?,
                hook: u32::from_be_bytes(hook.try_into().ok()?),
                drops: policy.map(i32::from_be_bytes) == Some(libc::NF_DROP),
            })
        })
    }

    /// The rules of all tables.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rules(&mut self) -> Result<Vec<Listed>, Error> {
        self.list_all(NFT_MSG_GETRULE, |family, told| {
            let list = attribute(told, NFTA_RULE_EXPRESSIONS).unwrap_or_default();
            let expressions = attributes(list).filter_map(|(_, expression)| {
                let data = attribute(expression, NFTA_EXPR_DATA).unwrap_or_default();
                Some(Expression {
                    name: attribute(expression, NFTA_EXPR_NAME).map(text_of)?,
                    data: data.to_vec(),
                })
            });
            Some(Listed {
                family,
                table: attribute(told, NFTA_RULE_TABLE).map(text_of)?,
                chain: attribute(told, NFTA_RULE_CHAIN).map(text_of)?,
                expressions: expressions.collect(),
            })
        })
    }

    /// The connection helper objects of all tables: family, table, name, and the helper that each
    /// stands for.
    ///
    /// # Errors
    /// The kernel's.
    pub fn helpers(&mut self) -> Result<Vec<(&'static str, String, String, String)>, Error> {
        self.list_all(NFT_MSG_GETOBJ, |family, told| {
            let kind = attribute(told, NFTA_OBJ_TYPE)?.try_into().ok()?;
            if u32::from_be_bytes(kind) != NFT_OBJECT_CT_HELPER {
                return None;
            }
            let helper = attribute(attribute(told, NFTA_OBJ_DATA)?, NFTA_CT_HELPER_NAME)?;
            Some((
                family,
                attribute(told, NFTA_OBJ_TABLE).map(text_of)?,
                attribute(told, NFTA_OBJ_NAME).map(text_of)?,
                text_of(helper),
            ))
        })
    }

    fn list_all<T>(
        &mut self,
        operation: u16,
        read: impl Fn(&'static str, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let kind = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | operation;
        let question = Message::new(kind, 0, &[libc::NFPROTO_UNSPEC as u8, 0, 0, 0]);
        self.0.dump(&question, |payload, found| {
            let family = match payload.first().map(|family| i32::from(*family)) {
                Some(libc::NFPROTO_IPV4) => "ip",
                Some(libc::NFPROTO_INET) => "inet",
                _ => return,
            };
            found.extend(read(family, payload.get(NFGENMSG..).unwrap_or_default()));
        })
    }
}

pub(super) const NFT_MSG_GETCHAIN: u16 = 4;
pub(super) const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_GETOBJ: u16 = 19;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_TARGET_NAME: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFT_JUMP: i32 = -3;
const NFT_GOTO: i32 = -4;
const NFT_OBJECT_CT_HELPER: u32 = 3;
const NFTA_CT_HELPER_NAME: u16 = 1;
