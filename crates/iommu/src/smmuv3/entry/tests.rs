use super::*;
use std::vec::Vec;

fn stage1(pointer: u64) -> Ste {
    let mut entry = INVALID;
    entry[0] = spec::Ste0::new()
        .with_v(true)
        .with_config(spec::CONFIG_STAGE1)
        .with_s1_context_ptr(pointer)
        .into_bits();
    entry[1] = spec::Ste1::new().with_s1cir(1).with_s1cor(1).with_s1csh(3).with_shcfg(1).into_bits();
    entry
}

fn stage2(config: u8, vmid: u16, root: u64) -> Ste {
    let mut entry = if config == spec::CONFIG_NESTED { stage1(7) } else { stage1(0) };
    entry[0] = spec::Ste0::from_bits(entry[0]).with_config(config).into_bits();
    entry[2] = spec::Ste2::new().with_s2vmid(vmid).with_s2aa64(true).with_s2t0sz(25).into_bits();
    entry[3] = spec::Ste3::new().with_s2ttb(root).into_bits();
    entry
}

fn bypass() -> Ste {
    let mut entry = INVALID;
    entry[0] = spec::Ste0::new().with_v(true).with_config(spec::CONFIG_BYPASS).into_bits();
    entry[1] = spec::Ste1::new().with_shcfg(spec::SHCFG_INCOMING).into_bits();
    entry
}

fn all() -> Vec<Ste> {
    let mut all = std::vec![INVALID, abort(), bypass(), stage1(1), stage1(2)];
    for config in [spec::CONFIG_STAGE2, spec::CONFIG_NESTED] {
        all.extend([stage2(config, 1, 0x100), stage2(config, 2, 0x200)]);
    }
    all
}

/// What an entry means to the hardware: nothing but the bits that it looks at.
fn meaning(entry: &Ste) -> Ste {
    let mut meaning = used(entry);
    for (bits, word) in meaning.iter_mut().zip(entry) {
        *bits &= word;
    }
    meaning
}

#[test]
fn whichever_words_of_a_step_the_hardware_reads_it_sees_one_entry_or_the_other() {
    for current in all() {
        for target in all() {
            let mut before = current;
            let mut invalid = false;
            let mut count = 0;
            for step in steps(&current, &target) {
                count += 1;
                for mix in 0..1_u32 << spec::STE_WORDS {
                    let mut seen = before;
                    for (word, value) in seen.iter_mut().enumerate() {
                        if mix >> word & 1 == 1 {
                            *value = step[word];
                        }
                    }
                    let seen = meaning(&seen);
                    invalid |= seen == INVALID;
                    let known = [meaning(&current), meaning(&target), INVALID];
                    assert!(known.contains(&seen), "{seen:x?} between {current:x?} and {target:x?}");
                }
                before = step;
            }
            assert_eq!(before, target);
            assert!(count <= 3);
            let two = |entry: &Ste| spec::Ste0::from_bits(entry[0]).config() & 2 != 0;
            let valid = current != INVALID && target != INVALID;
            if valid && !two(&current) && !two(&target) {
                assert!(!invalid, "a gap between {current:x?} and {target:x?}");
            }
        }
    }
}

#[test]
fn nothing_is_to_be_done_where_nothing_changes() {
    for entry in all() {
        assert_eq!(steps(&entry, &entry).count(), 0);
    }
}
