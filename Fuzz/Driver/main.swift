import CFuzzer
import Glibc

// muster-fuzz TARGET [options and folders of libFuzzer]. What a target throws is a finding, as a trap is.

let names = FuzzTarget.all.map(\.name).joined(separator: " ")

func say(_ words: String) {
    let line = Array((words + "\n").utf8)
    write(STDERR_FILENO, line, line.count)
}

/// Set once, before the driver starts; its callback is a C function, which captures nothing.
nonisolated(unsafe) var chosen: FuzzTarget?

if CommandLine.arguments.dropFirst().first == "--list" {
    print(names)
    exit(0)
}
chosen = FuzzTarget.all.first { $0.name == CommandLine.arguments.dropFirst().first }
guard let target = chosen else {
    say("usage: muster-fuzz TARGET [OPTION|FOLDER]…; targets: \(names)")
    exit(64)
}

// libFuzzer must not see the target's name, which it would take for a folder.
var words = CommandLine.arguments.enumerated().filter { $0.offset != 1 }.map { strdup($0.element) }
words.append(strdup("-max_len=\(target.maximumLength)"))
var count = Int32(words.count)
words.append(nil)
let status = words.withUnsafeMutableBufferPointer { buffer in
    var start = buffer.baseAddress
    return LLVMFuzzerRunDriver(&count, &start) { data, size in
        do {
            try chosen?.run(Array(UnsafeBufferPointer(start: data, count: size)))
        } catch {
            say("finding: \(error)")
            abort()
        }
        return 0
    }
}
exit(status)
