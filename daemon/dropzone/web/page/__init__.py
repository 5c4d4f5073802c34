"""The pages: HTML made here from what the API's operations answer."""
