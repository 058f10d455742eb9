//! QR codes as SVG.

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

/// Draws a text. `None` if it is too long for a QR code.
pub(crate) fn svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .or_else(|_| QrCode::with_error_correction_level(text, EcLevel::L))
        .ok()?;
    Some(code.render::<svg::Color<'_>>().min_dimensions(256, 256).quiet_zone(true).build())
}

#[cfg(test)]
mod tests {
    #[test]
    fn draws_without_anything_that_the_page_policy_forbids() {
        let drawn = super::svg("kith1abc").unwrap();
        assert!(drawn.contains("<svg") && !drawn.contains("style=") && !drawn.contains("script"));
        assert!(super::svg(&"x".repeat(crate::limits::QR_BYTES_MAX)).is_some());
        assert!(super::svg(&"x".repeat(4000)).is_none());
    }
}
