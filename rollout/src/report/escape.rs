//! Text as HTML, SVG and XML need it.

/// Writes what has a meaning in markup as what it stands for.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
