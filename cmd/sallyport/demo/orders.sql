CREATE TABLE customers (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  town TEXT NOT NULL
);
INSERT INTO customers VALUES
  (1, 'Ada', 'London'), (2, 'Grace', 'Arlington'), (3, 'Edsger', 'Nuenen'), (4, 'Barbara', 'Boston');

CREATE TABLE orders (
  id       INTEGER PRIMARY KEY,
  customer INTEGER NOT NULL REFERENCES customers,
  item     TEXT NOT NULL,
  cents    INTEGER NOT NULL,
  placed   TEXT NOT NULL
);
CREATE INDEX orders_of ON orders (customer);
INSERT INTO orders VALUES
  (1001, 1, 'Punched cards, 500', 1490, '2026-03-02'), (1002, 2, 'Moth tweezers', 895, '2026-03-03'),
  (1003, 1, 'Brass gears, set', 18900, '2026-03-07'),  (1004, 3, 'Fountain pen', 24500, '2026-03-09'),
  (1005, 4, 'Library shelf', 32900, '2026-03-11'),     (1006, 2, 'Wire, 30 cm', 120, '2026-03-15');
