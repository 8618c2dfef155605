// What Renode's stm32f4 does not model and the bench needs: the cause of a reset in RCC_CSR, a power
// cut at the n-th operation of the node on its own flash, and how long the node has been up by its
// own count.
//
// It is a register block of its own that watches others: `machine LoadPlatformDescriptionFromString
// "watch: Tianfu.NodeWatch @ sysbus 0x50070000"`, then `sysbus.watch Attach`.
using System;
using Antmicro.Renode.Core;
using Antmicro.Renode.Peripherals.Bus;
using Antmicro.Renode.Peripherals.Memory;

namespace Antmicro.Renode.Peripherals.Tianfu
{
    public class NodeWatch : IDoubleWordPeripheral, IKnownSize
    {
        public NodeWatch(IMachine machine)
        {
            this.machine = machine;
            flags = PowerOn;
            next = Watchdog;
        }

        // Call it once, when the platform is loaded.
        public void Attach()
        {
            flash = (MappedMemory)machine["sysbus.flash"];
            ram = (MappedMemory)machine["sysbus.sram"];
            resetAt = Now();
            var bus = machine.SystemBus;
            var rcc = (IBusPeripheral)machine["sysbus.rcc"];
            bus.SetHookAfterPeripheralRead<uint>(rcc, AfterRccRead);
            bus.SetHookBeforePeripheralWrite<uint>(rcc, BeforeRccWrite);
            var nvic = (IBusPeripheral)machine["sysbus.nvic"];
            bus.SetHookBeforePeripheralWrite<uint>(nvic, BeforeNvicWrite);
            var controller = (IBusPeripheral)machine["sysbus.flash_controller"];
            bus.SetHookBeforePeripheralWrite<uint>(controller, BeforeFlashWrite);
        }

        // The next reset is one of the pin, or of the supply. Any other that comes by itself is
        // the watchdog's: nothing else resets this machine but software, which is seen at AIRCR.
        public void ExpectPin()
        {
            next = Pin;
        }

        public void ExpectPowerOn()
        {
            flags = 0;
            next = PowerOn;
        }

        public void Reset()
        {
            flags |= next;
            next = Watchdog;
            resetAt = Now();
        }

        // Where in RAM the image counts its milliseconds.
        public int MillisecondsAt { get; set; }

        // Microseconds of virtual time since the last reset, and milliseconds that the node counted.
        // One text, so that both are of the same quantum whatever the host does in between.
        public string Uptime
        {
            get
            {
                return string.Format("{0} {1}", Now() - resetAt, ram.ReadDoubleWord(MillisecondsAt - RamBase));
            }
        }

        // Programs and erases that the node began since the counter was set.
        public int Operations { get; set; }

        // The power goes before this operation takes effect (1: the first); 0: never.
        public int CutAt { get; set; }

        public bool Cut { get; set; }

        // What the store's sectors held at the cut goes back into them: the core runs on to the end
        // of its block of instructions, and what it did there never happened.
        public void Restore()
        {
            if(image != null)
            {
                flash.WriteBytes(StoreOffset, image, image.Length);
            }
            image = null;
            Cut = false;
            CutAt = 0;
        }

        public uint ReadDoubleWord(long offset)
        {
            return (uint)Operations;
        }

        public void WriteDoubleWord(long offset, uint value)
        {
        }

        public long Size { get { return 0x100; } }

        private uint AfterRccRead(uint value, long offset)
        {
            return offset == ControlStatus ? (value & 0x00FFFFFFu) | flags : value;
        }

        private uint BeforeRccWrite(uint value, long offset)
        {
            if(offset == ControlStatus && (value & RemoveFlags) != 0)
            {
                flags = 0;
            }
            return value;
        }

        private uint BeforeNvicWrite(uint value, long offset)
        {
            if(offset == InterruptControl && (value >> 16) == 0x05FA && (value & 4) != 0)
            {
                next = Software;
            }
            return value;
        }

        private uint BeforeFlashWrite(uint value, long offset)
        {
            if(offset != FlashControl || (value & Lock) != 0)
            {
                return value;
            }
            var programs = (value & 1) != 0;
            var erases = (value & Start) != 0 && (value & 6) != 0;
            if(!programs && !erases)
            {
                return value;
            }
            Operations = Operations + 1;
            if(Operations == CutAt && !Cut)
            {
                image = flash.ReadBytes(StoreOffset, StoreBytes);
                // All of the machine, as Renode's own testers do it from the core's thread. Time waits
                // for a machine that is paused. It does not wait for a core that is halted: minutes
                // would pass until the bench sees the cut, and the next core would sleep as long.
                machine.Pause();
                // Last: who sees it resets the machine, and must not wait for this very hook.
                Cut = true;
            }
            return value;
        }

        private long Now()
        {
            return (long)machine.ElapsedVirtualTime.TimeElapsed.TotalMicroseconds;
        }

        private readonly IMachine machine;
        private MappedMemory flash;
        private MappedMemory ram;
        private long resetAt;
        private byte[] image;
        private uint flags;
        private uint next;

        private const int RamBase = 0x20000000;
        // Sectors 10 and 11.
        private const long StoreOffset = 0xC0000;
        private const int StoreBytes = 0x40000;
        // RM0090 7.3.21, RCC_CSR: every reset pulls the pin, too.
        private const long ControlStatus = 0x74;
        private const uint RemoveFlags = 1u << 24;
        private const uint PowerOn = 0x0E000000;
        private const uint Pin = 0x04000000;
        private const uint Software = 0x14000000;
        private const uint Watchdog = 0x24000000;
        // PM0214 4.4.5, AIRCR, from the base of the system control space.
        private const long InterruptControl = 0xD0C;
        // RM0090 3.9.7, FLASH_CR.
        private const long FlashControl = 0x10;
        private const uint Start = 1u << 16;
        private const uint Lock = 1u << 31;
    }
}
