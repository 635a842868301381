INSERT INTO orders SELECT id, customer, amount, sent, note, CURRENT_TIMESTAMP FROM made;
