//! Numbers of bytes as people write them: `"2M + 4K"`, `"640 * 480 * 2"`, `"0x1000"`, `4096`.

use std::num::IntErrorKind;

/// Reads a sum of products of numbers. A number is decimal or, after `0x`, hexadecimal, and may end in `K`, `M` or `G`
/// (or `KiB`, `MiB`, `GiB`), all of them powers of 1024.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let too_large = || format!("\"{text}\" is more than a 64-bit number holds");
    let mut sum = 0_u64;
    for term in text.split('+') {
        let mut product = 1_u64;
        for factor in term.split('*') {
            let factor = factor.trim();
            if factor.is_empty() && !text.trim().is_empty() {
                return Err(format!("in \"{text}\" a number is missing beside a \"+\" or a \"*\""));
            }
            let factor = number(factor)?.ok_or_else(too_large)?;
            product = product.checked_mul(factor).ok_or_else(too_large)?;
        }
        sum = sum.checked_add(product).ok_or_else(too_large)?;
    }
    Ok(sum)
}

/// One number with its unit; `None` when it is too large.
fn number(text: &str) -> Result<Option<u64>, String> {
    let wrong =
        || format!("\"{text}\" is not a number of bytes, such as 4096, \"0x1000\", \"64K\" or \"2M + 4K\"");
    let (digits, unit) = match text.find(['K', 'M', 'G']) {
        Some(end) => {
            let unit = match &text[end..] {
                "K" | "KiB" => 1 << 10,
                "M" | "MiB" => 1 << 20,
                "G" | "GiB" => 1 << 30,
                _ => return Err(wrong()),
            };
            (text[..end].trim_end(), unit)
        }
        None => (text, 1),
    };
    let digits = digits.replace('_', "");
    let value = match digits.strip_prefix("0x") {
        Some(hexadecimal) if !hexadecimal.starts_with('+') => u64::from_str_radix(hexadecimal, 16),
        Some(_) => return Err(wrong()),
        None => digits.parse(),
    };
    match value {
        Ok(value) => Ok(value.checked_mul(unit)),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Ok(None),
        Err(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sums_of_products_of_units() {
        assert_eq!(parse("2M + 4K"), Ok((2 << 20) + 4096));
        assert_eq!(parse("640 * 480 * 2"), Ok(614_400));
        assert_eq!(parse("0x1000"), Ok(4096));
        assert_eq!(parse("0x10K"), Ok(0x4000));
        assert_eq!(parse("1GiB"), Ok(1 << 30));
        assert_eq!(parse("1_000"), Ok(1000));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "K", "4k", "1 2", "-1", "0x", "0x+1", "2M +", "18446744073709551616", "1G * 1G * 1G"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_called_something_else() {
        for text in [
            "999999999999G",
            "18446744073709551616",
            "0x1_0000_0000_0000_0000",
            "1G * 1G * 1G",
            "17179869183G + 1G",
        ] {
            let expected = format!("\"{text}\" is more than a 64-bit number holds");
            assert_eq!(parse(text), Err(expected));
        }
    }

    #[test]
    fn a_sign_without_a_number_beside_it_is_named() {
        for text in ["4K +", "+ 4K", "2 * * 3", "*"] {
            let expected = format!("in \"{text}\" a number is missing beside a \"+\" or a \"*\"");
            assert_eq!(parse(text), Err(expected));
        }
        assert!(parse(" ").unwrap_err().starts_with("\"\" is not a number of bytes"));
    }
}
