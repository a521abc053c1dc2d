//! Durations as the service writes them, quantities as Kubernetes does.

/// Milliseconds in `10s`, `500ms`, `2m` or `1h`; `None` when it is none of these.
pub fn millis(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Thousandths of a quantity: 100 for `100m` of CPU, 1024000 for `1Ki` of memory; `None` when it is no
/// quantity.
pub fn quantity(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u128 = text[..end].parse().ok()?;
    let unit = match &text[end..] {
        "m" => return Some(number),
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    Some(number * unit * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(millis("10s"), Some(10_000));
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("2m"), Some(120_000));
        assert_eq!(millis("1h"), Some(3_600_000));
        assert_eq!(millis("10"), None);
        assert_eq!(millis("s"), None);
    }

    #[test]
    fn quantities_compare_across_units() {
        assert_eq!(quantity("100m"), Some(100));
        assert_eq!(quantity("2"), Some(2_000));
        assert_eq!(quantity("1k"), Some(1_000_000));
        assert_eq!(quantity("1M"), quantity("1000k"));
        assert_eq!(quantity("1G"), quantity("1000M"));
        assert_eq!(quantity("1Ki"), quantity("1024"));
        assert_eq!(quantity("1Mi"), quantity("1024Ki"));
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        assert_eq!(quantity("1 Gi"), None);
    }
}
