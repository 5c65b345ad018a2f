/// How many columns of a terminal a text takes, near enough for tables: marks take none, wide East Asian characters and emoji two. [value]
enum TextWidth {
    static func of(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { $0 + columns($1) }
    }

    /// As much of the text as fits, with `…` in place of the rest.
    static func fitted(_ text: String, to width: Int) -> String {
        guard width > 0, of(text) > width else { return text }
        var cut = String.UnicodeScalarView()
        var used = 0
        for scalar in text.unicodeScalars {
            let more = columns(scalar)
            if used + more > width - 1 { break }
            used += more
            cut.append(scalar)
        }
        return String(cut) + "…"
    }

    private static func columns(_ scalar: Unicode.Scalar) -> Int {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        switch scalar.value {
        case 0x1100...0x115f, 0x2e80...0x303e, 0x3041...0xa4cf, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe6f, 0xff00...0xff60,
            0xffe0...0xffe6, 0x1f300...0x1f64f, 0x1f900...0x1f9ff, 0x20000...0x3fffd:
            return 2
        default: return 1
        }
    }
}
