//! From a plugin's source to a component: what `omnivisor plugin build`, `omnivisor-pack` and `scripts/build-plugins.sh`
//! share. Only with the feature `pack`; never part of a guest.

mod component;
mod manifest;
mod toolchain;

pub use component::{MANIFEST_BYTES_MAX, MANIFEST_SECTION, PackError, Packed, pack, write_whole};
pub use toolchain::{GUEST_PROFILE, GUEST_TARGET, Toolchain, ToolchainError};
