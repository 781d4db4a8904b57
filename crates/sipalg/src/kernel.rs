//! PLACEHOLDER: replaced by the merge of the kernel branch.
#![allow(missing_docs)]
use sipalg_core::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use sipalg_core::config::AccessList;
use sipalg_core::door::{DoorOp, MediaCount};
use std::path::Path;

pub const MARK_DIVERT: u32 = 0x0100_0000;
pub const CT_TAKEN: u32 = 0x0100_0000;
pub const CT_DOOR: u32 = 0x0200_0000;
pub const MARK_DIAL: u32 = 0x0200_0000;

#[derive(Clone, Debug)]
pub struct SourcePlan {
    pub list: AccessList,
    pub interface: String,
    pub global: Ipv4Addr,
}
#[derive(Clone, Debug)]
pub struct Plan {
    pub inside: Vec<String>,
    pub outside: Vec<String>,
    pub sources: Vec<SourcePlan>,
    pub sip_tcp_ports: Vec<u16>,
    pub listener: SocketAddrV4,
}
#[derive(Debug, thiserror::Error)]
#[error("placeholder")]
pub struct KernelError;
#[derive(Debug)]
pub struct Kernel;
impl Kernel {
    pub fn install(_plan: &Plan, _state_dir: &Path) -> Result<Kernel, KernelError> {
        Ok(Kernel)
    }
    pub fn apply(&mut self, _ops: &[DoorOp]) -> Result<(), KernelError> {
        Ok(())
    }
    pub fn media_counts(&mut self) -> Result<Vec<(SocketAddrV4, MediaCount)>, KernelError> {
        Ok(Vec::new())
    }
    pub fn remove(self) -> Result<(), KernelError> {
        Ok(())
    }
}
pub fn clean(_state_dir: &Path) -> Result<(), KernelError> {
    Ok(())
}
pub mod ports {
    use super::*;
    pub fn in_use() -> Vec<(Protocol, u16)> {
        Vec::new()
    }
}
