-- The database of the example, and the logins that the connector has there. Run it as a superuser:
--   psql -v ON_ERROR_STOP=1 -f orders.sql
-- Then give each login a password: \password reader

CREATE DATABASE orders;
\connect orders

CREATE TABLE customers (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name  text NOT NULL,
  email text NOT NULL UNIQUE
);
COMMENT ON TABLE customers IS 'One row for each customer, also former ones';

CREATE TABLE orders (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer bigint NOT NULL REFERENCES customers,
  total    numeric(12,2) NOT NULL,
  placed   timestamptz NOT NULL DEFAULT now(),
  refunded text
);
COMMENT ON TABLE orders IS 'One row for each order';
COMMENT ON COLUMN orders.refunded IS 'Why it was refunded; NULL if it was not';
CREATE INDEX orders_customer ON orders (customer);

INSERT INTO customers (name, email) VALUES ('Olga', 'olga@example.com'), ('Otto', 'otto@example.com');
INSERT INTO orders (customer, total) VALUES (1, 12.50), (1, 99.90), (2, 7.00);

-- Who may log in may read what is granted here, and nothing else. A free query can do all that its login may: so this is the
-- boundary, whatever stands in connector.yaml.
REVOKE ALL ON DATABASE orders FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE ROLE reader LOGIN;
GRANT CONNECT ON DATABASE orders TO reader;
GRANT USAGE ON SCHEMA public TO reader;
GRANT SELECT ON customers, orders TO reader;

-- The support desk sees no addresses, and may refund, by the one statement that connector.yaml names.
CREATE ROLE support LOGIN;
GRANT CONNECT ON DATABASE orders TO support;
GRANT USAGE ON SCHEMA public TO support;
GRANT SELECT (id, name) ON customers TO support;
GRANT SELECT ON orders TO support;
GRANT UPDATE (refunded) ON orders TO support;

-- Everybody may end statements and sessions of the same login otherwise, those of other agents among them.
REVOKE EXECUTE ON FUNCTION pg_cancel_backend(integer), pg_terminate_backend(integer, bigint) FROM PUBLIC;
