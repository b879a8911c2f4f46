//! Numbers of bytes as people write them: `"2M + 4K"`, `"640 * 480 * 2"`, `"0x1000"`, `4096`.

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
            product = product.checked_mul(number(factor.trim())?).ok_or_else(too_large)?;
        }
        sum = sum.checked_add(product).ok_or_else(too_large)?;
    }
    Ok(sum)
}

fn number(text: &str) -> Result<u64, String> {
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
    value.map_err(|_| wrong())?.checked_mul(unit).ok_or_else(wrong)
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
}
