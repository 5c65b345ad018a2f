import MusterAgent
import MusterClient
import MusterWire
import Testing

struct ControlChannelMachineTests {
    private let start = ContinuousClock.now

    @Test func theFirstTryComesAtOnceAndLaterOnesLater() {
        var machine = ControlChannelMachine()
        #expect(machine.start() == .connect)
        #expect(machine.start() == .none)
        #expect(machine.ended(.unreachable("refused"), at: start, random: 1) == .wait(.milliseconds(500), ticket: 1))
        #expect(machine.standing == .unreachable)
        #expect(machine.delayElapsed(ticket: 1) == .connect)
        #expect(machine.delayElapsed(ticket: 1) == .none)
        #expect(machine.ended(.unreachable("refused"), at: start, random: 1) == .wait(.seconds(1), ticket: 2))
        #expect(machine.delayElapsed(ticket: 1) == .none)
        #expect(machine.delayElapsed(ticket: 2) == .connect)
        #expect(machine.opened(at: start) == .none)
        #expect(machine.standing == .online)
    }

    @Test func noDelayIsEverBeyondTheCap() {
        var machine = ControlChannelMachine()
        _ = machine.start()
        for ticket in 1...100 {
            let failure: ControlChannelMachine.Failure = ticket.isMultiple(of: 3) ? .denied("no") : .unreachable("no")
            guard case .wait(let delay, ticket) = machine.ended(failure, at: start, random: .random(in: 0..<1)) else {
                Issue.record("it has to wait")
                return
            }
            #expect(delay <= .seconds(60))
            #expect(machine.delayElapsed(ticket: ticket) == .connect)
        }
    }

    @Test func aGoodChannelBeginsAgainWithATryAtOnce() {
        var machine = ControlChannelMachine()
        _ = machine.start()
        _ = machine.ended(.unreachable(""), at: start, random: 1)
        _ = machine.delayElapsed(ticket: 1)
        _ = machine.opened(at: start)
        #expect(machine.ended(.unreachable("dropped"), at: start + .seconds(30), random: 1) == .wait(.zero, ticket: 2))
    }

    @Test func aChannelThatIsDroppedAtOnceDoesNotResetTheBackOff() {
        var machine = ControlChannelMachine()
        _ = machine.start()
        var delays: [Duration] = []
        for ticket in 1...4 {
            _ = machine.opened(at: start)
            if case .wait(let delay, _) = machine.ended(nil, at: start + .milliseconds(900), random: 1) { delays.append(delay) }
            _ = machine.delayElapsed(ticket: ticket)
        }
        #expect(delays == [.milliseconds(500), .seconds(1), .seconds(2), .seconds(4)])
        _ = machine.opened(at: start)
        #expect(machine.ended(nil, at: start + .seconds(1), random: 1) == .wait(.zero, ticket: 5))
    }

    @Test func aChannelThatServedBeginsTheBackOffAnewHoweverShortItWas() {
        var machine = ControlChannelMachine()
        _ = machine.start()
        for ticket in 1...5 {
            _ = machine.ended(.unreachable(""), at: start, random: 1)
            _ = machine.delayElapsed(ticket: ticket)
        }
        _ = machine.opened(at: start)
        machine.served()
        #expect(machine.ended(.unreachable("dropped"), at: start + .milliseconds(100), random: 1) == .wait(.zero, ticket: 6))
        // Once; the next one that soon goes on from there.
        for (ticket, delay) in [(6, Duration.milliseconds(500)), (7, .seconds(1))] {
            _ = machine.delayElapsed(ticket: ticket)
            _ = machine.opened(at: start + .seconds(1))
            machine.served()
            #expect(machine.ended(nil, at: start + .seconds(2), random: 1) == .wait(delay, ticket: ticket + 1))
        }
        _ = machine.delayElapsed(ticket: 8)
        _ = machine.opened(at: start + .seconds(20))
        machine.served()
        #expect(machine.ended(nil, at: start + .seconds(21), random: 1) == .wait(.zero, ticket: 9))
    }

    @Test func aControllerThatCrashesAllTheTimeIsNotHammered() {
        for serves in [true, false] {
            var machine = ControlChannelMachine(backoff: Backoff(cap: .seconds(35)))
            _ = machine.start()
            var now = start
            var tries = 0
            while now < start + .seconds(3600) {
                _ = machine.opened(at: now)
                if serves { machine.served() }
                guard case .wait(let delay, let ticket) = machine.ended(.unreachable("crashed"), at: now, random: 0.5) else { break }
                tries += 1
                now += delay
                #expect(machine.delayElapsed(ticket: ticket) == .connect)
            }
            // Seven within each twenty seconds and more, or one every 17.5 s when nothing was ever said.
            #expect(tries < (serves ? 1200 : 220))
            #expect(tries > 200)
        }
    }

    /// The controller bounds how often a node may open its channel. Whatever a controller does to an agent, most of that bound stays unused.
    @Test(arguments: [Duration.zero, .milliseconds(300), .seconds(1), .seconds(21)], [true, false])
    func anHonestAgentNeverOpensTooOften(life: Duration, serves: Bool) {
        struct Dice: RandomNumberGenerator {
            var state: UInt64
            // SplitMix64
            mutating func next() -> UInt64 {
                state &+= 0x9E37_79B9_7F4A_7C15
                var z = state
                z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
                z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
                return z ^ (z >> 31)
            }
        }
        let most = Double(OpenControlChannel.openingsAtOnce)
        var least = most
        for agent in 0..<200 {
            var dice = Dice(state: UInt64(agent))
            var machine = ControlChannelMachine()
            var (now, last, tokens) = (start, start, most)
            _ = machine.start()
            while now < start + .seconds(600) {
                tokens = min(most, tokens + ((now - last) / .seconds(1)) * Double(OpenControlChannel.openingsPerSecond)) - 1
                least = min(least, tokens)
                last = now
                _ = machine.opened(at: now)
                if serves { machine.served() }
                now += life
                guard case .wait(let delay, let ticket) = machine.ended(nil, at: now, random: .random(in: 0..<1, using: &dice)) else {
                    break
                }
                now += delay
                guard machine.delayElapsed(ticket: ticket) == .connect else { break }
            }
        }
        #expect(least > most * 2 / 3)
    }

    @Test func aDeniedNodeKeepsTryingAtTheCap() {
        var machine = ControlChannelMachine()
        _ = machine.start()
        #expect(machine.ended(.denied("deregistered"), at: start, random: 0) == .wait(.seconds(30), ticket: 1))
        #expect(machine.standing == .denied)
        #expect(machine.delayElapsed(ticket: 1) == .connect)
        #expect(machine.ended(.denied("deregistered"), at: start, random: 1) == .wait(.seconds(60), ticket: 2))
        #expect(machine.delayElapsed(ticket: 2) == .connect)
        // The refusal may still come, now that it is connected.
        #expect(machine.opened(at: start) == .wait(.seconds(5), ticket: 3))
        #expect(machine.ended(.denied("deregistered"), at: start, random: 1) == .wait(.seconds(60), ticket: 4))
        #expect(machine.delayElapsed(ticket: 3) == .none)
        #expect(machine.standing == .denied)
        #expect(machine.delayElapsed(ticket: 4) == .connect)
        #expect(machine.opened(at: start) == .wait(.seconds(5), ticket: 5))
        #expect(machine.delayElapsed(ticket: 5) == .none)
        #expect(machine.standing == .online)
    }

    @Test func aNewCertificateMeansANewChannelAtOnce() {
        var machine = ControlChannelMachine()
        #expect(machine.identityReplaced() == .none)
        _ = machine.start()
        #expect(machine.identityReplaced() == .none)
        _ = machine.opened(at: start)
        #expect(machine.identityReplaced() == .close)
        #expect(machine.identityReplaced() == .none)
        #expect(machine.ended(nil, at: start, random: 1) == .connect)
        // And one that waits because it was denied waits no longer.
        _ = machine.ended(.denied("expired"), at: start, random: 1)
        #expect(machine.identityReplaced() == .connect)
        #expect(machine.delayElapsed(ticket: 1) == .none)
    }

    @Test func itStopsFromEverywhere() {
        var idle = ControlChannelMachine()
        #expect(idle.stopRequested() == .finish)
        #expect(idle.isFinished)
        #expect(idle.start() == .none)

        var connecting = ControlChannelMachine()
        _ = connecting.start()
        #expect(connecting.stopRequested() == .finish)
        #expect(connecting.ended(.unreachable(""), at: start, random: 0) == .none)

        var waiting = ControlChannelMachine()
        _ = waiting.start()
        _ = waiting.ended(nil, at: start, random: 0)
        #expect(waiting.stopRequested() == .finish)
        #expect(waiting.delayElapsed(ticket: 1) == .none)

        var open = ControlChannelMachine()
        _ = open.start()
        _ = open.opened(at: start)
        #expect(open.stopRequested() == .close)
        #expect(!open.isFinished)
        #expect(open.ended(nil, at: start, random: 0) == .finish)

        var replacing = ControlChannelMachine()
        _ = replacing.start()
        _ = replacing.opened(at: start)
        _ = replacing.identityReplaced()
        #expect(replacing.stopRequested() == .none)
        #expect(replacing.ended(nil, at: start, random: 0) == .finish)
    }
}
