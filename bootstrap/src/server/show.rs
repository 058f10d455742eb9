//! The community link on the terminal.

use std::io::{self, Write as _};

use kith_wire::relay::CommunityLink;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Prints the link on a line of its own, and above it the QR code.
pub(crate) fn link(link: &CommunityLink, qr: bool) -> io::Result<()> {
    let text = link.to_text();
    let mut out = io::stdout().lock();
    // A link too long for any QR code still stands as text.
    if qr && let Ok(code) = QrCode::with_error_correction_level(&text, EcLevel::L) {
        let image = code
            .render::<Dense1x2>()
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark)
            .quiet_zone(true)
            .build();
        writeln!(out, "{image}")?;
    }
    writeln!(out, "{text}")?;
    out.flush()
}
