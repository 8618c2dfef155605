"""Executes Modbus requests on a register bank (Application Protocol V1.1b3, section 6).

Functions: 03 and 04 (read registers), 06 and 10 (write registers), 17 (read and write), 08
(diagnostics: 00, 0A, 0B to 12) and 2B/0E (device identification). Exceptions come in the
specification's order: function 01, then quantity and value 03, then address 02, then the code that
the bank returns.

The registers belong to a *bank* with three methods, each returning 0, an exception code (1 to
4, 6, 7), or ``NO_ANSWER``::

    read_input(address, count, out, at)      write registers address.. to out[at:], big endian
    read_holding(address, count, out, at)    the same for holding registers
    write_holding(address, count, data, at)  take them from data[at:], all or nothing

A bank checks addresses (2) and the values of its registers (3); ``address + count`` is never over
65536. Behind the registers asked for, and everywhere when it refuses, it may leave anything in
``out``, whose length it must not change. It must not keep ``out`` or ``data``.

Requests and answers stand in whole RTU frames (address at 0, function at 1), so that nothing is
copied between frame and PDU. Nothing here allocates on MicroPython.
"""

from micropython import const

from protocols.wire.errors import BAD_VALUE, LocalError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.ports import Bank

# Function codes (section 6). All codes stand here, in the module that uses most of them, because
# MicroPython compiles a constant in only where it is defined. Names for people, also of functions
# that no node serves, are in protocols/modbus_client/names.py.
READ_HOLDING = const(0x03)
READ_INPUT = const(0x04)
WRITE_ONE = const(0x06)
DIAGNOSTICS = const(0x08)
WRITE_MANY = const(0x10)
READ_WRITE = const(0x17)
ENCAPSULATED = const(0x2B)
READ_DEVICE_ID = const(0x0E)  # the only type of ENCAPSULATED in use (section 6.21)
EXCEPTION = const(0x80)  # added to the function code of a request that is refused

# Exception codes (section 7).
ILLEGAL_FUNCTION = const(1)
ILLEGAL_ADDRESS = const(2)
ILLEGAL_VALUE = const(3)
DEVICE_FAILURE = const(4)
BUSY = const(6)
NAK = const(7)
#: In place of an exception code: the request is meant for another server of our address.
NO_ANSWER = const(0x100)

MAX_READ = const(125)  # registers in one answer (section 6.4)
_MAX_WRITE = const(123)
_MAX_WRITE_17 = const(121)
_REGISTERS = const(65536)

_ECHO = const(0x00)
_CLEAR = const(0x0A)
_FIRST_COUNTER = const(0x0B)
_LAST_COUNTER = const(0x12)

_BASIC = const(1)
_REGULAR = const(2)
_INDIVIDUAL = const(4)
_FIRST_EXTENDED = const(0x80)
_END = const(254)  # where the CRC begins in the longest frame: address and a PDU of 253 bytes
_OBJECTS_AT = const(8)
_MAX_OBJECT = const(244)  # bytes of an identification object that fill one answer


class LineCounters:
    """The counters of FC 08 (section 6.8), each from 0 since start or :meth:`clear`.

    ``overrun`` is for the owner of the UART to raise. On the wire each is shown modulo 65536.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Set all to 0 (also: FC 08 sub-function 0A)."""
        self.bus_message = 0  # valid frames on the bus, whoever they are for
        self.bus_error = 0  # wrong CRC, too short, too long, torn apart
        self.bus_exception = 0  # exceptions answered, or hidden because of a broadcast
        self.server_message = 0  # requests for this server, broadcasts included
        self.server_no_response = 0  # of these: not answered
        self.server_nak = 0
        self.server_busy = 0
        self.overrun = 0

    def by_number(self, sub_function: int) -> int:
        """Return the counter that a sub-function (0B to 12) asks for."""
        if sub_function == 0x0B:
            return self.bus_message
        if sub_function == 0x0C:
            return self.bus_error
        if sub_function == 0x0D:
            return self.bus_exception
        if sub_function == 0x0E:
            return self.server_message
        if sub_function == 0x0F:
            return self.server_no_response
        if sub_function == 0x10:
            return self.server_nak
        if sub_function == 0x11:
            return self.server_busy
        return self.overrun


class PduServer:
    """Executes requests on a bank.

    ``identity`` maps object ids of the device identification (0 to 255) to their values (at most
    244 bytes). Objects 0, 1 and 2 are mandatory; without any there is no FC 2B. LocalError
    for an identity that breaks these rules.
    """

    def __init__(self, bank: "Bank", identity: "dict[int, bytes]", counters: LineCounters) -> None:
        for object_id, value in identity.items():
            if not 0 <= object_id <= 255:
                raise LocalError(BAD_VALUE, "object id", -1, "0 to 255", object_id)
            if len(value) > _MAX_OBJECT:
                raise LocalError(BAD_VALUE, "object length", object_id, _MAX_OBJECT, len(value))
        for object_id in (0, 1, 2):
            if identity and object_id not in identity:
                raise LocalError(BAD_VALUE, "mandatory object", -1, object_id, "none")
        self._bank = bank
        self._ids = bytes(sorted(identity))
        self._values = [identity[object_id] for object_id in self._ids]
        self._conformity = 0x81
        if self._ids and self._ids[-1] > 2:
            self._conformity = 0x83 if self._ids[-1] >= _FIRST_EXTENDED else 0x82
        self.counters = counters

    def execute(self, rx: bytearray, length: int, tx: bytearray) -> int:
        """Do what the request ``rx[:length]`` (a whole frame, its CRC checked) asks for.

        Return where the answer in ``tx`` ends; its CRC belongs there. ``tx`` has 256 bytes. 0: no
        answer is to be sent.
        """
        function = rx[1]
        if function in (READ_INPUT, READ_HOLDING):
            end = self._read(rx, length, tx)
        elif function in (WRITE_ONE, WRITE_MANY):
            end = self._write(rx, length, tx)
        elif function == READ_WRITE:
            end = self._read_write(rx, length, tx)
        elif function == DIAGNOSTICS:
            end = self._diagnose(rx, length, tx)
        elif function == ENCAPSULATED and self._ids:
            end = self._identify(rx, length, tx)
        else:
            end = -ILLEGAL_FUNCTION
        tx[0] = rx[0]
        tx[1] = function
        if end < 0:
            counters = self.counters
            if end == -NO_ANSWER:
                counters.server_no_response += 1
                return 0
            counters.bus_exception += 1
            if end == -BUSY:
                counters.server_busy += 1
            elif end == -NAK:
                counters.server_nak += 1
            tx[1] = function | EXCEPTION
            tx[2] = -end
            end = 3
        return end

    def broadcast(self, rx: bytearray, length: int, tx: bytearray) -> None:
        """Execute the broadcast ``rx[:length]`` if it is a write. A broadcast has no answer."""
        self.counters.server_message += 1
        self.counters.server_no_response += 1
        if rx[1] in (WRITE_ONE, WRITE_MANY):
            self.execute(rx, length, tx)

    # Each of these returns where its answer ends, or an exception code, negative.

    def _read(self, rx: bytearray, length: int, tx: bytearray) -> int:
        if length != 8:
            return -ILLEGAL_VALUE
        address = rx[2] << 8 | rx[3]
        count = rx[4] << 8 | rx[5]
        if not 1 <= count <= MAX_READ:
            return -ILLEGAL_VALUE
        if address + count > _REGISTERS:
            return -ILLEGAL_ADDRESS
        if rx[1] == READ_INPUT:
            code = self._bank.read_input(address, count, tx, 3)
        else:
            code = self._bank.read_holding(address, count, tx, 3)
        if code:
            return -code
        tx[2] = 2 * count
        return 3 + 2 * count

    def _write(self, rx: bytearray, length: int, tx: bytearray) -> int:
        address = rx[2] << 8 | rx[3]
        count = 1
        at = 4
        if rx[1] == WRITE_ONE:
            if length != 8:
                return -ILLEGAL_VALUE
        else:
            if length < 9:
                return -ILLEGAL_VALUE
            count = rx[4] << 8 | rx[5]
            at = 7
            if not 1 <= count <= _MAX_WRITE or rx[6] != 2 * count or length != 9 + 2 * count:
                return -ILLEGAL_VALUE
        if address + count > _REGISTERS:
            return -ILLEGAL_ADDRESS
        code = self._bank.write_holding(address, count, rx, at)
        if code:
            return -code
        for index in range(2, 6):  # either answer repeats the first fields of its request
            tx[index] = rx[index]
        return 6

    def _read_write(self, rx: bytearray, length: int, tx: bytearray) -> int:
        if length < 13:
            return -ILLEGAL_VALUE
        read_count = rx[4] << 8 | rx[5]
        count = rx[8] << 8 | rx[9]
        if not 1 <= read_count <= MAX_READ or not 1 <= count <= _MAX_WRITE_17:
            return -ILLEGAL_VALUE
        if rx[10] != 2 * count or length != 13 + 2 * count:
            return -ILLEGAL_VALUE
        read_address = rx[2] << 8 | rx[3]
        address = rx[6] << 8 | rx[7]
        if read_address + read_count > _REGISTERS or address + count > _REGISTERS:
            return -ILLEGAL_ADDRESS
        # Both addresses are checked before the write is done, so read once for the check alone.
        code = self._bank.read_holding(read_address, read_count, tx, 3)
        if not code:
            code = self._bank.write_holding(address, count, rx, 11)
        if not code:
            code = self._bank.read_holding(read_address, read_count, tx, 3)
        if code:
            return -code
        tx[2] = 2 * read_count
        return 3 + 2 * read_count

    def _diagnose(self, rx: bytearray, length: int, tx: bytearray) -> int:
        if length < 6:
            return -ILLEGAL_VALUE
        sub_function = rx[2] << 8 | rx[3]
        if sub_function == _ECHO:
            if length < 8 or length & 1:
                return -ILLEGAL_VALUE
            for index in range(2, length - 2):
                tx[index] = rx[index]
            return length - 2
        if sub_function != _CLEAR and not _FIRST_COUNTER <= sub_function <= _LAST_COUNTER:
            return -ILLEGAL_FUNCTION
        if length != 8 or rx[4] or rx[5]:
            return -ILLEGAL_VALUE
        value = 0
        if sub_function == _CLEAR:
            self.counters.clear()
        else:
            value = self.counters.by_number(sub_function)
        tx[2] = 0
        tx[3] = sub_function
        tx[4] = value >> 8 & 0xFF
        tx[5] = value & 0xFF
        return 6

    def _identify(self, rx: bytearray, length: int, tx: bytearray) -> int:
        if length < 5:
            return -ILLEGAL_VALUE
        if rx[2] != READ_DEVICE_ID:
            return -ILLEGAL_FUNCTION
        kind = rx[3]
        if length != 7 or not _BASIC <= kind <= _INDIVIDUAL:
            return -ILLEGAL_VALUE
        ids = self._ids
        first = 0
        while first < len(ids) and ids[first] != rx[4]:
            first += 1
        last = len(ids)
        if kind == _INDIVIDUAL:
            if first == last:
                return -ILLEGAL_ADDRESS
            last = first + 1
        else:
            limit = 2 if kind == _BASIC else _FIRST_EXTENDED - 1 if kind == _REGULAR else 0xFF
            while ids[last - 1] > limit:
                last -= 1
            if first >= last:
                first = 0  # an unknown object in a stream: it begins again (section 6.21)
        tx[2] = READ_DEVICE_ID
        tx[3] = kind
        tx[4] = self._conformity
        return self._objects(tx, first, last)

    def _objects(self, tx: bytearray, first: int, last: int) -> int:
        """Write the objects ``first`` to ``last - 1``, or as many as fit; return where they end."""
        end = _OBJECTS_AT
        index = first
        while index < last:
            value = self._values[index]
            if end + 2 + len(value) > _END:
                break
            tx[end] = self._ids[index]
            tx[end + 1] = len(value)
            end += 2
            for at in range(len(value)):
                tx[end + at] = value[at]
            end += len(value)
            index += 1
        tx[5] = 0xFF if index < last else 0
        tx[6] = self._ids[index] if index < last else 0
        tx[7] = index - first
        return end
