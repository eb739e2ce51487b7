//! Container images that are made here, from files of this machine, and the registry that serves them to test nodes.
//!
//! - [`Image`]: one layer of files, links and folders, and how a container of it starts (the crate `oci-image`).
//! - [`busybox`], [`pause`]: the images that every cluster needs, from Debian's busybox-static.
//! - [`debian`]: an image of Debian packages.
//! - [`kairos`]: a stand-in for Kairos images, whose agent upgrades test nodes.
//! - [`Store`]: a folder of images under the names that manifests use; some hosts may ask for a password.
//! - [`serve`]: the read side of a registry over such a folder, run in the control plane's network namespace.

mod debian;
mod kairos;
mod reference;
mod registry;
mod store;
mod well_known;

pub use debian::debian;
pub use kairos::{Upgrade, bootable, kairos};
pub use oci_image::{Image, ImageConfig};
pub use registry::serve;
pub use store::Store;
pub use well_known::{BUSYBOX, PAUSE, busybox, pause, program_with_libraries};
