//! Every bound of the wire format in one place (docs/protocol.md, "Sizes").

/// Sizes of relay entries, nonce and tag included, in bytes.
pub const ENTRY_BUCKETS: [usize; 5] = [1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10];
/// The largest relay entry, in bytes.
pub const ENTRY_BYTES_MAX: usize = 128 << 10;
/// The largest body of an event, in bytes.
pub const EVENT_BODY_BYTES_MAX: usize = 64 << 10;
/// The largest MLS key package in an object, in bytes.
pub const KEY_PACKAGE_BYTES_MAX: usize = 8 << 10;
/// The largest group context extension 0xFF20, in bytes.
pub const GROUP_EXT_BYTES_MAX: usize = 32 << 10;
/// Size of a blob chunk before sealing, in bytes.
pub const BLOB_CHUNK_BYTES: usize = 256 << 10;
/// The largest frame on a link between peers or to a relay, in bytes.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Relays in a group's list.
pub const GROUP_RELAYS_MAX: usize = 5;
/// Relays in a device card.
pub const CARD_RELAYS_MAX: usize = 3;
/// Direct addresses in a device card or link.
pub const ADDRS_MAX: usize = 8;
/// Bytes of one address in text form.
pub const ADDR_BYTES_MAX: usize = 256;
/// Bytes (UTF-8) of a profile or group name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes (UTF-8) of "about" texts and request greetings.
pub const ABOUT_BYTES_MAX: usize = 1024;
/// Bytes (UTF-8) that a report quotes of the message.
pub const REPORT_QUOTE_BYTES_MAX: usize = 1024;
/// Bytes (UTF-8) of a report's reason.
pub const REPORT_REASON_BYTES_MAX: usize = 1024;
/// Devices of one account in one group.
pub const DEVICES_PER_ACCOUNT_MAX: usize = 10;
/// Devices in one group.
pub const DEVICES_PER_GROUP_MAX: usize = 1000;
